#!/bin/sh
# Unpack packages of a Debian suite, with all that they need, into a folder from which they run after chroot.
# Nothing is installed on the system and no service starts. Works as root and, for all but the chroot itself, as anyone.
#
#   debian_root.sh SUITE FOLDER PACKAGE[=VERSION-PREFIX]...
#
# The folder appears only when it is complete; whoever asks for it meanwhile waits. Exit status 3 says that the suite
# was read, but holds no such version any more.
set -eu

SUITE=$1 FOLDER=$2
shift 2

mkdir -p "$(dirname "$FOLDER")"
exec 9> "$FOLDER.lock"
flock 9
[ ! -d "$FOLDER" ] || exit 0

MIRROR=${WARREN_DEBIAN_MIRROR:-$(
  cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2> /dev/null |
    sed -n -e 's/^URIs: *\([^ ]*\).*/\1/p' -e 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\).*/\2/p' | head -n 1)}
[ -n "$MIRROR" ] || { echo "No Debian mirror is named in /etc/apt: set WARREN_DEBIAN_MIRROR to the address of one." >&2; exit 1; }

rm -rf "$FOLDER".part.*
PART=$FOLDER.part.$$
trap 'rm -rf "$PART"' EXIT
trap 'exit 1' HUP INT TERM
APT=$PART/apt ROOT=$PART/root
mkdir -p "$APT/lists/partial" "$APT/cache/archives/partial" "$APT/log"
mkdir -p "$ROOT/usr/bin" "$ROOT/usr/sbin" "$ROOT/usr/lib" "$ROOT/usr/lib64" "$ROOT/etc" "$ROOT/dev" "$ROOT/proc" "$ROOT/tmp"
: > "$APT/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $MIRROR $SUITE main" > "$APT/sources.list"

# A state of its own for apt, so that the system's is neither read nor changed.
cat > "$APT/apt.conf" << END
Dir::State "$APT";
Dir::State::Lists "$APT/lists";
Dir::State::status "$APT/status";
Dir::Cache "$APT/cache";
Dir::Log "$APT/log";
Dir::Etc::sourcelist "$APT/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
Quiet "2";
END
export APT_CONFIG="$APT/apt.conf"

apt-get update
NAMES=
for package in "$@"; do
  name=${package%%=*} version=
  case $package in *=*) version=${package#*=} ;; esac
  found=$(apt-cache madison "$name" | awk -F '|' -v wanted="$version" '{ gsub(/ /, "", $2) } index($2, wanted) == 1 { print $2; exit }')
  if [ -z "$found" ]; then
    echo "Debian's suite '$SUITE' has no $name $version; it has:" $(apt-cache madison "$name" | cut -d '|' -f 2) >&2
    exit 3
  fi
  NAMES="$NAMES $name=$found"
done

# The shell and the tools that the packages' own scripts call without saying so.
# shellcheck disable=SC2086  # the names are words
apt-get --download-only --yes install dash coreutils sed grep mawk libc-bin $NAMES > "$APT/log/install"

for link in bin sbin lib lib64; do ln -s "usr/$link" "$ROOT/$link"; done
# shellcheck disable=SC2016  # the inner shell fills these in
find "$APT/cache/archives" -name '*.deb' -print0 | xargs -0 -P "$(nproc)" -n 4 sh -euc 'root=$1; shift; for deb; do
  dpkg-deb --fsys-tarfile "$deb" |
    tar -x -C "$root" --keep-directory-symlink --no-same-owner --exclude ./usr/share/doc --exclude ./usr/share/man
done' unpack "$ROOT"
ln -sf dash "$ROOT/usr/bin/sh"
ln -sf mawk "$ROOT/usr/bin/awk"
chmod 1777 "$ROOT/tmp"
mkdir "$ROOT/node"
echo 'root:x:0:0::/node:/bin/sh' > "$ROOT/etc/passwd"
echo '127.0.0.1 localhost' > "$ROOT/etc/hosts"
mv "$ROOT" "$FOLDER"
