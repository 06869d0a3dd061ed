# shellcheck shell=bats
# Once for the whole run: the parts are there, and ordinary users may open /dev/fuse.

setup_suite() {
	local repo
	repo=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
	if [[ ! -x ${OVERLAYFS:-$repo/overlayfs} ]]; then
		echo "${OVERLAYFS:-$repo/overlayfs} is not there: run make first" >&2
		return 1
	fi
	if [[ $EUID == 0 && -e /dev/fuse && $(stat -c %a /dev/fuse) != 666 ]]; then
		chmod 666 /dev/fuse
		echo '# /dev/fuse was not open to ordinary users: its mode is 0666 now' >&3
	fi
}
