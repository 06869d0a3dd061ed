# SPDX-License-Identifier: ISC
# Completion of overlayfs(1) for fish.

function __overlayfs_sessions
    set -l state ~/.local/state
    set -q XDG_STATE_HOME; and set state $XDG_STATE_HOME
    for file in $state/overlayfs/*/session
        string replace -r '.*/([^/]+)/session$' '$1' $file
    end
end

function __overlayfs_using
    set -l words (commandline -opc)
    test (count $words) -ge 2; and contains -- $words[2] $argv
end

function __overlayfs_mounting
    set -l words (commandline -opc)
    test (count $words) -ge 2; or return 0
    not contains -- $words[2] run shell list diff commit discard export apply vacuum check umount
end

# Whether the command of `run` has begun.
function __overlayfs_in_command
    set -l words (commandline -opc)
    set -l skip 0
    for word in $words[3..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case --
                return 0
            case -l -u -n -o -C --sandbox --hide --rw
                set skip 1
            case '-*'
            case '*'
                return 0
        end
    end
    return 1
end

function __overlayfs_run_options
    __overlayfs_using run; and not __overlayfs_in_command
end

# What follows the options of `run` completes as it does without them.
function __overlayfs_command
    set -l words (commandline -opc)
    set -l rest
    set -l skip 0
    set -l begun 0
    for word in $words[3..-1]
        if test $begun = 1
            set -a rest $word
        else if test $skip = 1
            set skip 0
        else
            switch $word
                case --
                    set begun 1
                case -l -u -n -o -C --sandbox --hide --rw
                    set skip 1
                case '-*'
                case '*'
                    set begun 1
                    set -a rest $word
            end
        end
    end
    complete -C (string join ' ' -- (string escape -- $rest) (commandline -ct))
end

complete -c overlayfs -f
complete -c overlayfs -n '__fish_use_subcommand' -a run -d 'Run a command in a writable view'
complete -c overlayfs -n '__fish_use_subcommand' -a shell -d 'A shell in the view of a session'
complete -c overlayfs -n '__fish_use_subcommand' -a list -d 'List the sessions'
complete -c overlayfs -n '__fish_use_subcommand' -a diff -d 'Show the changes'
complete -c overlayfs -n '__fish_use_subcommand' -a commit -d 'Bring the changes into the lower'
complete -c overlayfs -n '__fish_use_subcommand' -a discard -d 'Throw the changes away'
complete -c overlayfs -n '__fish_use_subcommand' -a export -d 'Write an image layer'
complete -c overlayfs -n '__fish_use_subcommand' -a apply -d 'Read an image layer'
complete -c overlayfs -n '__fish_use_subcommand' -a vacuum -d 'Drop what is the same in the lower'
complete -c overlayfs -n '__fish_use_subcommand' -a check -d 'Find and repair'
complete -c overlayfs -n '__fish_use_subcommand' -a umount -d 'Unmount'

complete -c overlayfs -n __overlayfs_mounting -s u -xa '(__fish_complete_directories)' -d 'Upper directory'
complete -c overlayfs -n __overlayfs_mounting -l tmp -d 'A throw-away upper'
complete -c overlayfs -n __overlayfs_mounting -s o -x -d 'Mount options' -a 'lowerdir= upperdir= workdir= whiteout=wh whiteout=chardev whiteout=xattr redirect_dir=on redirect_dir=off squash_to_uid= squash_to_gid= squash_to_root timeout= volatile noacl ro allow_other allow_root clone_fd max_threads= fsname='
complete -c overlayfs -n __overlayfs_mounting -s f -d 'Stay in the foreground'
complete -c overlayfs -n __overlayfs_mounting -s d -d 'Show every request'
complete -c overlayfs -n __overlayfs_mounting -s h -d Usage
complete -c overlayfs -n __overlayfs_mounting -s V -d Version
complete -c overlayfs -n __overlayfs_mounting -a '(__fish_complete_directories)'
complete -c overlayfs -n '__overlayfs_using umount' -a '(__fish_complete_directories)'

complete -c overlayfs -n __overlayfs_run_options -s l -xa '(__overlayfs_sessions; __fish_complete_directories)' -d 'Lower directory or session'
complete -c overlayfs -n __overlayfs_run_options -s u -xa '(__fish_complete_directories)' -d 'Upper directory'
complete -c overlayfs -n __overlayfs_run_options -s n -xa '(__overlayfs_sessions)' -d 'Name of the session'
complete -c overlayfs -n __overlayfs_run_options -s o -x -d 'Mount options'
complete -c overlayfs -n __overlayfs_run_options -s C -xa '(__fish_complete_directories)' -d 'Start in a directory'
complete -c overlayfs -n __overlayfs_run_options -s q -d 'Say nothing of the session'
complete -c overlayfs -n __overlayfs_run_options -l ask -d 'Ask at the end'
complete -c overlayfs -n __overlayfs_run_options -l commit -d 'Commit at the end'
complete -c overlayfs -n __overlayfs_run_options -l discard -d 'Discard at the end'
complete -c overlayfs -n __overlayfs_run_options -l keep -d 'Keep the session'
complete -c overlayfs -n __overlayfs_run_options -l sandbox -xa 'auto bwrap proot none' -d 'What the view is entered with'
complete -c overlayfs -n __overlayfs_run_options -l hide -r -F -d 'Paths that are not there'
complete -c overlayfs -n __overlayfs_run_options -l rw -r -F -d 'A path that is the real one'
complete -c overlayfs -n __overlayfs_run_options -l no-net -d 'No network'
complete -c overlayfs -n __overlayfs_run_options -l root -d 'Appear as root'
complete -c overlayfs -n __overlayfs_run_options -l no-root -d 'Keep the user'
complete -c overlayfs -n __overlayfs_run_options -l help -d Usage
complete -c overlayfs -n '__overlayfs_using run' -a '(__overlayfs_command)'

set -l targets shell diff commit discard export apply vacuum check
complete -c overlayfs -n "__overlayfs_using $targets" -s l -xa '(__overlayfs_sessions; __fish_complete_directories)' -d 'Lower directory or session'
complete -c overlayfs -n "__overlayfs_using $targets" -s u -xa '(__fish_complete_directories)' -d 'Upper directory'
complete -c overlayfs -n "__overlayfs_using $targets" -s w -xa '(__fish_complete_directories)' -d 'Work directory'
complete -c overlayfs -n "__overlayfs_using $targets" -F -a '(__overlayfs_sessions)' -d Session
complete -c overlayfs -n '__overlayfs_using shell' -s q -d 'Say nothing'

complete -c overlayfs -n '__overlayfs_using diff' -l stat -d 'How much was changed'
complete -c overlayfs -n '__overlayfs_using diff' -l names -d 'Only names'
complete -c overlayfs -n '__overlayfs_using diff' -l patch -d 'A patch'
complete -c overlayfs -n '__overlayfs_using diff' -l json -d 'One object a line'
complete -c overlayfs -n '__overlayfs_using diff' -s 0 -d 'Names ended by null bytes'
complete -c overlayfs -n '__overlayfs_using diff' -l times -d 'Also what differs only in its time'
complete -c overlayfs -n '__overlayfs_using commit vacuum' -l dry-run -d 'Only say what would be done'
complete -c overlayfs -n '__overlayfs_using commit' -l atomic -d 'All or nothing'
complete -c overlayfs -n '__overlayfs_using commit' -l interactive -d 'Ask for each change'
complete -c overlayfs -n '__overlayfs_using commit' -l force -d 'In spite of conflicts'
complete -c overlayfs -n '__overlayfs_using export' -l oci -d 'An image layer'
complete -c overlayfs -n '__overlayfs_using export' -l tar -d 'The whole tree'
complete -c overlayfs -n '__overlayfs_using check' -l repair -d Repair
complete -c overlayfs -n '__overlayfs_using check' -l convert -xa 'wh chardev xattr' -d 'Another form of whiteouts'
complete -c overlayfs -n '__overlayfs_using diff commit export' -l include -r -F -d 'Only what matches'
complete -c overlayfs -n '__overlayfs_using diff commit export' -l exclude -r -F -d 'Not what matches'
complete -c overlayfs -n '__overlayfs_using diff commit export' -l filter-file -r -F -d 'Patterns as in gitignore'
complete -c overlayfs -n '__overlayfs_using diff commit export' -l rootfs -d 'Not what belongs to the running machine'
complete -c overlayfs -n '__overlayfs_using diff commit export' -l files-only -d 'Only regular files'
complete -c overlayfs -n '__overlayfs_using diff commit export' -l no-empty-in -xa '(__fish_complete_directories)' -d 'Not the empty files of a directory'
