# Shared by quickstart and test (sourced, not run): named steps with durations, and the builds.
#
# step NAME COMMAND... runs COMMAND with its output in build/logs/SCRIPT/NAME.log, and says how long
# it took. A failure prints the end of that log; the step's exit code is the command's. A step
# beside others: `beside`, `joined`, below.

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

# logged NAME COMMAND...: the command with its log; its exit code and duration go to NAME.result.
logged() {
  local name=$1 begin=$EPOCHREALTIME code=0
  shift
  "$@" >"$logs/$name.log" 2>&1 || code=$?
  echo "$code $(seconds_since "$begin")" >"$logs/$name.result.new"
  mv "$logs/$name.result.new" "$logs/$name.result"
}

# Says behind the name what became of a step, and returns its exit code.
report() {
  local name=$1 code seconds
  read -r code seconds <"$logs/$name.result"
  if [ "$code" -eq 0 ]; then
    printf 'ok      %8s s\n' "$seconds"
    return 0
  fi
  printf 'FAILED  %8s s\n' "$seconds"
  printf -- '--- step "%s" failed (exit %d); the end of %s:\n' "$name" "$code" "$logs/$name.log"
  tail -n "$tail_lines" "$logs/$name.log"
  printf -- '---\n'
  return "$code"
}

step() {
  mkdir -p "$logs"
  rm -f "$logs/$1.result"
  printf '%-24s ' "$1"
  logged "$@"
  report "$1"
}

# beside NAME COMMAND...: starts a step that takes the processor time which the steps after it
# leave over: SCHED_IDLE, in a session of its own, whose share is the smallest where the kernel
# divides by session (autogroup). `joined NAME` waits for it and reports it.
declare -A beside_pids=()
beside() {
  mkdir -p "$logs"
  rm -f "$logs/$1.result"
  setsid chrt --idle 0 bash -c '
    if [ -w /proc/self/autogroup ]; then echo 19 >/proc/self/autogroup; fi
    logged "$@"' beside "$@" &
  beside_pids[$1]=$!
}

joined() {
  printf '%-24s ' "$1"
  wait "${beside_pids[$1]}" || true
  unset "beside_pids[$1]"
  report "$1"
}

# after NAME COMMAND...: within a step beside, COMMAND when the step beside NAME has succeeded.
after() {
  local code
  until [ -e "$logs/$1.result" ]; do sleep 1; done
  read -r code _ <"$logs/$1.result"
  [ "$code" -eq 0 ] || { echo "step $1 failed"; return "$code"; }
  shift
  "$@"
}

# Ends the steps beside that nobody has joined.
end_beside() {
  local pid
  for pid in "${beside_pids[@]}"; do
    kill -- "-$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  beside_pids=()
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

# -g1: functions and lines, as backtraces and perf need them; all of -g costs a sixth of the time.
build_release() { build release -Ddebug=false -Dcpp_args=-g1 -Dprecompiled_gtest=true; }

# The checked build is made by clang, so that every run covers both compilers.
build_asan() {
  CC=clang CXX=clang++ build asan -Dsanitizers=address -Dfuzzers=true -Db_lundef=false \
    -Dprecompiled_gtest=true
}

# What a step beside needs of all this in its own shell.
export root logs
export -f seconds_since logged after build build_asan
