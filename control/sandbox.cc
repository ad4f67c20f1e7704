// Theory of operation. After the start sluice-control needs memory, its io_uring rings, time,
// random numbers, and UNIX sockets towards the dataplane. It opens no file, starts no thread or
// program and makes no new ring: a mistake in a parser finds nothing to call. The rings themselves
// were restricted before they were enabled (loop.cc), because io_uring goes around seccomp.
#include "control/sandbox.h"

#include <cap-ng.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "abi/log/log.h"

namespace sluice::control {
namespace {

// Sanitizers look into their own process with calls that are denied here (ptrace, pipe, clone): a
// build with one runs without the filter, and stays dumpable.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

struct Rule {
  int call;
  const char* why;
};

// Everything else answers EPERM.
constexpr Rule kAllowed[] = {
    {SCMP_SYS(io_uring_enter), "the loops; setup and register are denied"},
    // Memory.
    {SCMP_SYS(brk), "malloc"},
    {SCMP_SYS(munmap), "malloc, an old region"},
    {SCMP_SYS(mremap), "realloc"},
    {SCMP_SYS(madvise), "malloc, the region's MADV_DONTDUMP"},
    {SCMP_SYS(mlock), "the region of a new attachment"},
    {SCMP_SYS(munlock), "an old region"},
    // Threads that run already.
    {SCMP_SYS(futex), "mutexes, joining"},
    {SCMP_SYS(rseq), "a thread that begins"},
    {SCMP_SYS(set_robust_list), "a thread that begins"},
    {SCMP_SYS(sched_yield), "spinning locks of libraries"},
    {SCMP_SYS(rt_sigprocmask), "thread start and end, abort"},
    {SCMP_SYS(rt_sigreturn), "return from a handler"},
    {SCMP_SYS(rt_sigaction), "abort"},
    {SCMP_SYS(sigaltstack), "thread end under sanitizers"},
    {SCMP_SYS(tgkill), "abort"},
    {SCMP_SYS(gettid), "abort, log"},
    {SCMP_SYS(getpid), "attach request, abort, OpenSSL's fork check"},
    {SCMP_SYS(exit), "thread end"},
    {SCMP_SYS(exit_group), "the end"},
    {SCMP_SYS(restart_syscall), "a wait that a stop signal interrupted"},
    // Time and randomness.
    {SCMP_SYS(clock_gettime), "where the vDSO cannot"},
    {SCMP_SYS(clock_nanosleep), "short waits of libraries"},
    {SCMP_SYS(gettimeofday), "where the vDSO cannot"},
    {SCMP_SYS(getrandom), "OpenSSL's random numbers"},
    // Descriptors that are open.
    {SCMP_SYS(read), "eventfd, signalfd"},
    {SCMP_SYS(write), "the log, eventfd"},
    {SCMP_SYS(writev), "the log, assertion messages"},
    {SCMP_SYS(close), "connections"},
    {SCMP_SYS(fstat), "the size of a region, stdio"},
    {SCMP_SYS(newfstatat), "fstat of newer C libraries (AT_EMPTY_PATH)"},
    {SCMP_SYS(fcntl), "the seals of a region, non-blocking"},
    {SCMP_SYS(poll), "the time limit of an attach"},
    {SCMP_SYS(ppoll), "the time limit of an attach"},
    // UNIX sockets; `socket` itself is limited to AF_UNIX below.
    {SCMP_SYS(connect), "attaching again"},
    {SCMP_SYS(sendto), "wake-ups"},
    {SCMP_SYS(sendmsg), "the attach request"},
    {SCMP_SYS(recvfrom), "wake-ups, the end of an attachment"},
    {SCMP_SYS(recvmsg), "the attach reply with its descriptors"},
    {SCMP_SYS(shutdown), "ending a connection"},
    {SCMP_SYS(setsockopt), "the time limit of an attach"},
    {SCMP_SYS(getsockopt), "the peer's credentials"},
};

std::string add_rules(scmp_filter_ctx filter) {
  for (const Rule& rule : kAllowed) {
    if (const int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, rule.call, 0); error != 0) {
      return std::string("seccomp refuses a rule (") + rule.why + "): " + std::strerror(-error);
    }
  }
  // Memory is never made executable.
  const uint64_t executable = PROT_EXEC;
  int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, executable, 0));
  if (error == 0) {
    error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, executable, 0));
  }
  if (error == 0) {
    error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                             SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
  }
  return error == 0 ? std::string() : std::string("seccomp: ") + std::strerror(-error);
}

bool make_undumpable() { return kSanitized || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0; }

}  // namespace

void protect_memory() {
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) log::warning("core dumps could not be turned off");
  if (!make_undumpable()) log::warning("PR_SET_DUMPABLE was refused");
  // Under a limit, memory that is wanted later (a region) would be refused by MCL_FUTURE.
  const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  rlimit limit{};
  capng_get_caps_process();
  const bool enough = capng_have_capability(CAPNG_EFFECTIVE, CAP_IPC_LOCK) == 1 ||
                      setrlimit(RLIMIT_MEMLOCK, &unlimited) == 0 ||
                      (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY);
  const int flags = enough ? MCL_CURRENT | MCL_FUTURE : MCL_CURRENT;
  if (mlockall(flags) != 0 || !enough) {
    log::warning("memory is not locked: secrets may reach the swap; raise LimitMEMLOCK");
  }
}

std::string pin_to_processors(const std::vector<uint16_t>& processors) {
  if (processors.empty()) return {};
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const uint16_t processor : processors) CPU_SET(processor, &set);
  if (sched_setaffinity(0, sizeof set, &set) == 0) return {};
  return std::string("cannot run on the configured [control] processors: ") + std::strerror(errno);
}

std::string drop_privileges(const std::string& user) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return "PR_SET_NO_NEW_PRIVS was refused";
  if (geteuid() != 0) {
    return user.empty() ? std::string() : "only root can become user " + user + "; start as root";
  }
  capng_get_caps_process();
  const bool may_lock = capng_have_capability(CAPNG_EFFECTIVE, CAP_IPC_LOCK) == 1;
  capng_clear(CAPNG_SELECT_BOTH);
  if (may_lock) {
    // The one that stays: the region of a later attachment is locked in memory too.
    const auto sets = static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED);
    capng_update(CAPNG_ADD, sets, CAP_IPC_LOCK);
  }
  if (user.empty()) {
    return capng_apply(CAPNG_SELECT_BOTH) == 0 ? "" : "the capabilities could not be dropped";
  }
  const passwd* entry = getpwnam(user.c_str());
  if (entry == nullptr) return "there is no user " + user + "; create it or change [control] user";
  const auto how = static_cast<capng_flags_t>(CAPNG_INIT_SUPP_GRP | CAPNG_CLEAR_BOUNDING);
  if (capng_change_id(static_cast<int>(entry->pw_uid), static_cast<int>(entry->pw_gid), how) != 0) {
    return "could not become user " + user;
  }
  // Changing the user makes the process dumpable again.
  return make_undumpable() ? "" : "PR_SET_DUMPABLE was refused";
}

std::string enter_seccomp() {
  if (kSanitized) {
    log::warning("a build with sanitizers runs without the seccomp filter");
    return {};
  }
  tzset();  // reads a file, which is not possible later
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  if (filter == nullptr) return "seccomp is not available";
  std::string error = add_rules(filter);
  if (error.empty() && seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) != 0) {
    error = "seccomp cannot be set for all threads";
  }
  if (error.empty()) {
    if (const int result = seccomp_load(filter); result != 0) {
      error = std::string("the seccomp filter was refused: ") + std::strerror(-result);
    }
  }
  seccomp_release(filter);
  return error;
}

}  // namespace sluice::control
