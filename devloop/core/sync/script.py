"""The script that serves a sync connection in a container (`core.sync.protocol` says how the two talk)."""

from typing import Final

__all__ = ["NO_ROOT", "loop_script"]

NO_ROOT: Final = 95
"""What a script ends with that cannot see the container's files from where it runs."""

# Its constraints: it runs under dash, busybox's ash and bash; payloads are read by `dd`, since busybox's `head` reads
# ahead; nothing may be taken for commands that was not sent as such, and so every failure ends the shell.
# Where it runs beside the container ($r is not empty), it is the superuser: what it writes gets the owner of what was
# there, or of the directory; and links that lead to absolute places must be followed by hand (`real`).
_SCRIPT: Final = r"""
t=TOKEN r=ROOT q=0 w= g= m=/proc/mounts n='
'
umask 022
exec 2>&1
if [ -n "$r" ]; then
m=/proc/1/mounts
[ -d "$r/." ] && [ ! "$r/" -ef / ] || exit NO_ROOT
fi
undo() { :; }
take() { dd bs="$1" count=1 iflag=fullblock status=none; }
why() {
k=other p=${1%/*}
while [ -n "$p" ] && [ ! -e "$p" ]; do p=${p%/*}; done
[ -n "$p" ] || p=/
if [ -d "$1" ] && [ ! -L "$1" ]; then k=directory; return; fi
if [ ! -d "$p" ]; then k=file; return; fi
b=0 o= f=${1#"$r"}
while read -r _ d _ a _; do
[ "$d" != "$f" ] || { k=mount; return; }
case ${p#"$r"}/ in "${d%/}"/*) [ ${#d} -lt $b ] || { b=${#d} o=$a; } ;; esac
done <$m
case $o in ro|ro,*) k=readonly; return ;; esac
[ -w "$p" ] && [ -x "$p" ] || { k=permission; return; }
a=$(df -P "$p" | { read -r _; read -r _ _ _ a _; echo "$a"; })
case $a in [0-7]) k=full; return ;; esac
a=$(df -Pi "$p" | { read -r _; read -r _ c _ a _; [ "$c" = 0 ] || echo "$a"; })
[ "$a" != 0 ] || { k=full; return; }
[ ! -k "$p" ] || [ ! -e "$1" ] || [ -O "$1" ] || k=permission
}
fail() {
for x; do why "$x" 2>/dev/null; [ $k = other ] || break; done
undo
eval "rm -rf -- $g"
u=$(id -un 2>/dev/null || id -u 2>/dev/null) x=${x#"$r"}
u=${u%%"$n"*}
printf '\n%s fail %s %s %s %s\n' $t "$q" $k "${u:--}" "${x%%"$n"*}"
exit 1
}
real() {
p=$2 d= k=0
while [ -n "$p" ]; do
p=${p#/} c=${p%%/*}
case $p in */*) p=/${p#*/} ;; *) p= ;; esac
case $c in ''|.) continue ;; ..) d=${d%/*}; continue ;; esac
if [ -L "$r$d/$c" ]; then
k=$((k+1)); [ $k -lt 40 ] || fail "$2/x"
l=$(readlink "$r$d/$c"; echo x); l=${l%??}
case $l in /*) d= ;; esac
p=/$l$p
else d=$d/$c; fi
done
[ "$d" != "$2" ] || return 0
case $d in *"$n"*) fail "$2/x" ;; esac
printf '\n%s real %s %s %s\n' $t "$q" "$1" "$d"
}
own() {
[ -n "$r" ] || return 0
o=$(stat -c %u:%g "$2" 2>/dev/null || stat -c %u:%g "${2%/*}/") || fail "$2"
[ "$o" = 0:0 ] || chown -hR "$o" "$1" || fail "$2"
}
gap() {
if [ -L "$1" ]; then rm -f -- "$1"; else find "$1" -depth -type d -exec rmdir -- {} \; 2>/dev/null; fi
[ ! -d "$1" ] || fail "$1"
}
dir() {
[ ! -d "$1" ] || return 0
d=${1%/}
while [ -n "$r" ] && [ ! -e "${d%/*}" ]; do d=${d%/*}; done
mkdir -p -- "$1" || fail "$1/x"
own "$d" "${d%/*}/."
}
bits() { [ "$1" = 644 ] || chmod "$1" "$2" || fail "$2"; }
mov() { [ ! -d "$2" ] || gap "$2"; mv -f -- "$1" "$2" || fail "$2"; }
one() {
dir "${4%/*}/"; { [ "$1" = 0 ] || take "$1"; } >"$3" || fail "$4"
own "$3" "$4"; bits "$2" "$3"; mov "$3" "$4"
}
lnk() { dir "${3%/*}/"; ln -s -- "$1" "$2" || fail "$3"; own "$2" "$3"; mov "$2" "$3"; }
more() { take "$1" >>"$2" || fail "$2"; }
hold() { x=$2; cd "$1" && shift 2 && ln -- "$@" "$x/"; }
all() {
d=$1 s=$2; shift 2
for x; do [ ! -d "$d/$x" ] || gap "$d/$x"; done
if [ -n "$r" ] && [ -n "$(find "$d/" -maxdepth 1 ! \( -user 0 -group 0 \))" ]; then
for x; do own "$s/$x" "$d/$x"; done
fi
cd "$s" && mv -f -- "$@" "$d/" && return
for x; do set -- "$@" "$d/$x"; shift; done
fail "$@"
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


def loop_script(token: str, root: str = "") -> str:
    """Return the script for `sh -c` that serves a connection.

    Args:
        token: A random word that no file's content can contain by accident.
        root: What the container's root directory is called where the script runs: empty in the container itself.
    """
    script = _SCRIPT.strip().replace("NO_ROOT", str(NO_ROOT))
    return script.replace("TOKEN", token, 1).replace("ROOT", root, 1)
