"""The script that serves a sync connection in a container (`core.sync_protocol` says how the two talk)."""

from typing import Final

__all__ = ["loop_script"]

# Its constraints: it runs under dash, busybox's ash and bash; payloads are read by `dd`, since busybox's `head` reads
# ahead; nothing may be taken for commands that was not sent as such, and so every failure ends the shell.
_SCRIPT: Final = r"""
t=TOKEN q=0 i= w= g= n='
'
umask 022
exec 2>&1
undo() { :; }
take() { dd bs="$1" count=1 iflag=fullblock status=none; }
why() {
k=other p=${1%/*}
while [ -n "$p" ] && [ ! -e "$p" ]; do p=${p%/*}; done
[ -n "$p" ] || p=/
if [ -d "$1" ] && [ ! -L "$1" ]; then k=directory; return; fi
if [ ! -d "$p" ]; then k=file; return; fi
b=0 o=
while read -r _ m _ f _; do
case $p/ in "${m%/}"/*) [ ${#m} -lt $b ] || { b=${#m} o=$f; } ;; esac
done </proc/mounts
case $o in ro|ro,*) k=readonly; return ;; esac
[ -w "$p" ] || { k=permission; return; }
a=$(df -P "$p" | { read -r _; read -r _ _ _ a _; echo "$a"; })
case $a in [0-7]) k=full ;; esac
}
fail() {
i=0
for x; do why "$x" 2>/dev/null; [ $k = other ] || break; i=$((i+1)); done
undo
eval "rm -rf -- $g"
printf '\n%s fail %s %s %s %s\n' $t "$q" $k $i "$(id -un 2>/dev/null || id -u 2>/dev/null)"
exit 1
}
gap() {
if [ -L "$1" ]; then rm -f -- "$1"; else find "$1" -depth -type d -exec rmdir -- {} \; 2>/dev/null; fi
[ ! -d "$1" ] || fail "$1"
}
dir() { [ -d "$1" ] || mkdir -p -- "$1" || fail "$1/x"; }
bits() { [ "$1" = 644 ] || chmod "$1" "$2" || fail "$2"; }
mov() { [ ! -d "$2" ] || gap "$2"; mv -f -- "$1" "$2" || fail "$2"; }
one() { dir "${4%/*}/"; { [ "$1" = 0 ] || take "$1"; } >"$3" || fail "$4"; bits "$2" "$3"; mov "$3" "$4"; }
lnk() { dir "${3%/*}/"; ln -s -- "$1" "$2" || fail "$3"; mov "$2" "$3"; }
more() { take "$1" >>"$2" || fail "$2"; }
all() {
d=$1 s=$2; shift 2
for x; do [ ! -d "$d/$x" ] || gap "$d/$x"; done
cd "$s" && mv -f -- "$@" "$d/" || fail "$d/x"
}
del() {
rm -f -- "$@" && return
for x; do [ -L "$x" ] || [ ! -e "$x" ] || [ -d "$x" ] || fail "$x"; done
}
lacks() { for x; do command -v $x >/dev/null || printf ' %s' $x; done; }
printf '\n%s hello%s\n' $t "$(lacks dd mv rm mkdir chmod ln tar find)"
while read -r k q x; do
[ "$k" = $t ] || exit 97
eval "$x"
printf '\n%s ok %s\n' $t "$q"
[ -z "$w" ] || { undo; cd /; w=; }
done
eval "rm -rf -- $g"
"""


def loop_script(token: str) -> str:
    """Return the script for `sh -c` that serves a connection.

    Args:
        token: A random word that no file's content can contain by accident.
    """
    return _SCRIPT.strip().replace("TOKEN", token)
