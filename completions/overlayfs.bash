# SPDX-License-Identifier: ISC
# Completion of overlayfs(1) for bash.

_overlayfs_sessions() {
	local dir=${XDG_STATE_HOME:-$HOME/.local/state}/overlayfs file
	for file in "$dir"/*/session; do
		[[ -e $file ]] || continue
		file=${file%/session}
		printf '%s\n' "${file##*/}"
	done
}

# Words for the one that is being typed; directories or files when there are none.
_overlayfs_words() {
	local word=$1
	shift
	mapfile -t COMPREPLY < <(compgen -W "$*" -- "$word")
}

_overlayfs_mount() {
	local cur=$1 prev=$2 options
	case $prev in
	-u)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	-o)
		options='lowerdir= upperdir= workdir= whiteout=wh whiteout=chardev whiteout=xattr
			redirect_dir=on redirect_dir=off squash_to_uid= squash_to_gid= squash_to_root
			timeout= volatile noacl ro allow_other allow_root clone_fd max_threads= fsname='
		local before=${cur%"${cur##*,}"}
		mapfile -t COMPREPLY < <(compgen -P "$before" -W "$options" -- "${cur##*,}")
		compopt -o nospace
		return
		;;
	esac
	case $cur in
	-*) _overlayfs_words "$cur" -u -o -f -d -h -V --tmp --help --version ;;
	*) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
	esac
}

# Where the command of `run` begins: the first word that is no option, nor an option's value.
_overlayfs_command_at() {
	local i
	for ((i = 2; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--)
			printf '%s' $((i + 1))
			return
			;;
		-l | -u | -n | -o | -C | --sandbox | --hide | --rw) ((i++)) ;;
		-*) ;;
		*)
			printf '%s' "$i"
			return
			;;
		esac
	done
	printf '%s' "$COMP_CWORD"
}

_overlayfs() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} options='' at
	local filters='--include --exclude --filter-file --rootfs --files-only --no-empty-in'
	COMPREPLY=()
	compopt -o filenames 2>/dev/null
	if ((COMP_CWORD == 1)) && [[ $cur != -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W \
			'run shell list diff commit discard export apply vacuum check umount' -- "$cur"
			compgen -d -- "$cur")
		return
	fi
	case ${COMP_WORDS[1]} in
	run)
		at=$(_overlayfs_command_at)
		if ((at < COMP_CWORD)); then
			if declare -F _command_offset >/dev/null; then
				_command_offset "$at"
			else
				mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			fi
			return
		fi
		options='-l -u -n -o -C -q --ask --commit --discard --keep --sandbox --hide --rw
			--no-net --root --no-root --help'
		;;
	shell) options='-q -l -u -w' ;;
	diff) options="--stat --names --patch --json -0 --times -l -u -w $filters" ;;
	commit) options="--dry-run --atomic --interactive --force -l -u -w $filters" ;;
	export) options="--oci --tar -l -u -w $filters" ;;
	vacuum) options='--dry-run -l -u -w' ;;
	check) options='--repair --convert -l -u -w' ;;
	discard | apply) options='-l -u -w' ;;
	list) return ;;
	umount)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	*)
		_overlayfs_mount "$cur" "$prev"
		return
		;;
	esac
	case $prev in
	-n | -l)
		_overlayfs_words "$cur" "$(_overlayfs_sessions)"
		[[ $prev == -n ]] || mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	-u | -w | -C)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	-o)
		_overlayfs_mount "$cur" "$prev"
		return
		;;
	--sandbox)
		_overlayfs_words "$cur" auto bwrap proot none
		return
		;;
	--convert)
		_overlayfs_words "$cur" wh chardev xattr
		return
		;;
	--rw | --filter-file | --no-empty-in | --hide)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	esac
	case $cur in
	-*) _overlayfs_words "$cur" "$options" ;;
	*)
		if [[ ${COMP_WORDS[1]} == run ]]; then
			mapfile -t COMPREPLY < <(compgen -c -- "$cur")
		else
			_overlayfs_words "$cur" "$(_overlayfs_sessions)"
			mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur")
		fi
		;;
	esac
}

complete -F _overlayfs overlayfs
