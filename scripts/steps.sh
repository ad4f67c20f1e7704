# Shared by quickstart and test (sourced, not run): named steps with durations, and the builds.
#
# step NAME COMMAND... runs COMMAND with its output in build/logs/SCRIPT/NAME.log, and says how long
# it took. A failure prints the end of that log; the step's exit code is the command's.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs="$root/build/logs/$(basename "$0")"
tail_lines=40

require_root() {
  if [ "$(id -u)" -ne 0 ]; then
    echo "$(basename "$0"): needs root (packages, network namespaces, AF_XDP): sudo $0 $*" >&2
    exit 1
  fi
}

# Seconds since $1 (of EPOCHREALTIME), with one decimal.
seconds_since() {
  local tenths=$(((${EPOCHREALTIME/./} - ${1/./}) / 100000))
  printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

step() {
  local name=$1 log="$logs/$1.log" begin=$EPOCHREALTIME code=0
  shift
  mkdir -p "$logs"
  printf '%-24s ' "$name"
  "$@" >"$log" 2>&1 || code=$?
  if [ "$code" -eq 0 ]; then
    printf 'ok      %8s s\n' "$(seconds_since "$begin")"
    return 0
  fi
  printf 'FAILED  %8s s\n' "$(seconds_since "$begin")"
  printf -- '--- step "%s" failed (exit %d); the end of %s:\n' "$name" "$code" "$log"
  tail -n "$tail_lines" "$log"
  printf -- '---\n'
  return "$code"
}

# build DIRECTORY [meson options...]: configures once, then compiles what changed.
build() {
  local directory=$root/build/$1
  shift
  if [ ! -f "$directory/build.ninja" ]; then
    rm -rf "$directory"
    meson setup "$directory" "$root" "$@" || return 1
  fi
  ninja -C "$directory"
}

build_release() { build release; }

# The checked build is made by clang, so that every run covers both compilers.
build_asan() { CC=clang CXX=clang++ build asan -Dsanitizers=address -Dfuzzers=true -Db_lundef=false; }
