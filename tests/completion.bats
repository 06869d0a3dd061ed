# Tab completion: each shell loads the file that `make install` puts in its place.

load helpers

setup() {
	tree_begin
	export XDG_STATE_HOME=$T/state HOME=$T/home
	mkdir -p "$HOME" "$XDG_STATE_HOME/overlayfs/sess-one" "$XDG_STATE_HOME/overlayfs/sess-two"
	touch "$XDG_STATE_HOME"/overlayfs/sess-{one,two}/session
	mkdir "$T/dir" "$T/dir/inside"
	make -s -C "$REPO" install DESTDIR="$T/installed" PREFIX=/usr BIN="$OVERLAYFS" >/dev/null
	cd "$T/dir" || return 1
}
teardown() { tree_end; }

SHARE=installed/usr/share

# in_bash WORD...: what the last word can become.
in_bash() {
	bash --norc -c '
		source "$1"
		shift
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		COMP_LINE=$* COMP_POINT=${#COMP_LINE}
		compopt() { :; }
		_overlayfs
		printf "%s\n" "${COMPREPLY[@]}"' bash "$T/$SHARE/bash-completion/completions/overlayfs" "$@" |
		sort -u | xargs
}

@test "bash completes commands, options, sessions and values" {
	assert_equal "$(in_bash overlayfs ru)" run
	assert_equal "$(in_bash overlayfs dis)" discard
	assert_equal "$(in_bash overlayfs in)" inside
	assert_equal "$(in_bash overlayfs run --no-)" '--no-net --no-root'
	assert_equal "$(in_bash overlayfs run --sandbox '')" 'auto bwrap none proot'
	assert_equal "$(in_bash overlayfs run -n sess-)" 'sess-one sess-two'
	assert_equal "$(in_bash overlayfs diff sess-o)" sess-one
	assert_equal "$(in_bash overlayfs commit --dry)" --dry-run
	assert_equal "$(in_bash overlayfs check --convert c)" chardev
	assert_equal "$(in_bash overlayfs -o volatile,whiteout=x)" 'volatile,whiteout=xattr'
	assert_equal "$(in_bash overlayfs -u in)" inside
	assert_equal "$(in_bash overlayfs run --keep -n x setpri)" setpriv
	assert_equal "$(in_bash overlayfs run --keep -n x ls in)" inside
}

@test "fish completes commands, options, sessions and values" {
	need command fish
	in_fish() {
		fish --no-config -c 'source $argv[1]; complete -C $argv[2]' \
			"$T/$SHARE/fish/vendor_completions.d/overlayfs.fish" "$1" | cut -f1 | sort -u | xargs
	}
	assert_equal "$(in_fish 'overlayfs ru')" run
	assert_equal "$(in_fish 'overlayfs run --no-')" '--no-net --no-root'
	assert_equal "$(in_fish 'overlayfs run --sandbox ')" 'auto bwrap none proot'
	assert_equal "$(in_fish 'overlayfs run -n sess-')" 'sess-one sess-two'
	assert_equal "$(in_fish 'overlayfs diff sess-o')" sess-one
	assert_equal "$(in_fish 'overlayfs commit --dry')" --dry-run
	assert_equal "$(in_fish 'overlayfs check --convert c')" chardev
	assert_equal "$(in_fish 'overlayfs run --keep -n x setpri')" setpriv
	assert_equal "$(in_fish 'overlayfs run --keep -n x ls in')" inside/
}

@test "zsh completes commands, options, sessions and values" {
	need command zsh
	"$PYTHON" - "$T/$SHARE/zsh/site-functions" 3>&- <<'P'
import sys
from terminal import *
t = Terminal(["zsh", "-f", "-i"])
t.send("PS1=PROMPT: PROMPT_EOL_MARK=; unset zle_bracketed_paste\n")
t.send("fpath=(%s $fpath); autoload -U compinit; compinit -u -D; bindkey '^I' complete-word; echo o''k\n" % sys.argv[1])
t.expect("ok\r\n")
for typed, becomes in [("overlayfs disc", "overlayfs discard "), ("overlayfs run --hid", "overlayfs run --hide "),
                       ("overlayfs run --sandbox pr", "overlayfs run --sandbox proot "),
                       ("overlayfs diff sess-o", "overlayfs diff sess-one "),
                       ("overlayfs commit --dry", "overlayfs commit --dry-run "),
                       ("overlayfs check --convert ch", "overlayfs check --convert chardev "),
                       ("overlayfs run --keep -n x setpri", "overlayfs run --keep -n x setpriv "),
                       ("overlayfs run --keep -n x ls ins", "overlayfs run --keep -n x ls inside")]:
    # The line that the shell has when the key has done its work.
    t.send("\x15" + typed + "\t")
    t.send("\x01print -r -- '<\x05>'\n")
    t.expect("<" + becomes.rstrip())
t.send("exit\n")
assert_equal(t.wait(), 0)
P
}

@test "make install puts them in place, and uninstall takes them away" {
	assert_file_exist "$T/$SHARE/bash-completion/completions/overlayfs"
	assert_file_exist "$T/$SHARE/zsh/site-functions/_overlayfs"
	assert_file_exist "$T/$SHARE/fish/vendor_completions.d/overlayfs.fish"
	make -s -C "$REPO" uninstall DESTDIR="$T/installed" PREFIX=/usr
	assert_equal "$(find "$T/installed" -type f)" ''
}
