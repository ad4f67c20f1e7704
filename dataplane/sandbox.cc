// Job: make a mistake in a parser worth little. What a port's driver needs while it runs depends on
// the driver (AF_XDP: sendto and poll; mlx5: ioctl on its verbs device; virtio: eventfd), and DPDK
// takes any driver, so this is a list of what is denied, not of what is allowed: starting programs,
// looking into other processes, changing what is mounted or loaded, making memory executable.
// Control, which holds the private keys and needs little, has an allow-list instead
// (control/sandbox.cc).
#include "sandbox.h"

#include <cap-ng.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>

namespace sluice::dataplane {
namespace {

struct Rule {
  int call;
  const char* why;
};

constexpr Rule kDenied[] = {
    {SCMP_SYS(execve), "another program"},
    {SCMP_SYS(execveat), "another program"},
    {SCMP_SYS(fork), "another process"},
    {SCMP_SYS(vfork), "another process"},
    {SCMP_SYS(ptrace), "other processes' memory: control's keys"},
    {SCMP_SYS(process_vm_readv), "other processes' memory: control's keys"},
    {SCMP_SYS(process_vm_writev), "other processes' memory"},
    {SCMP_SYS(pidfd_getfd), "other processes' descriptors"},
    {SCMP_SYS(kcmp), "other processes"},
    {SCMP_SYS(mount), "file systems"},
    {SCMP_SYS(umount2), "file systems"},
    {SCMP_SYS(pivot_root), "file systems"},
    {SCMP_SYS(chroot), "file systems"},
    {SCMP_SYS(open_by_handle_at), "files around their paths"},
    {SCMP_SYS(setns), "other namespaces"},
    {SCMP_SYS(unshare), "other namespaces"},
    {SCMP_SYS(init_module), "the kernel"},
    {SCMP_SYS(finit_module), "the kernel"},
    {SCMP_SYS(delete_module), "the kernel"},
    {SCMP_SYS(kexec_load), "the kernel"},
    {SCMP_SYS(kexec_file_load), "the kernel"},
    {SCMP_SYS(reboot), "the machine"},
    {SCMP_SYS(swapon), "the machine"},
    {SCMP_SYS(swapoff), "the machine"},
    {SCMP_SYS(keyctl), "the kernel's keys"},
    {SCMP_SYS(add_key), "the kernel's keys"},
    {SCMP_SYS(request_key), "the kernel's keys"},
    {SCMP_SYS(userfaultfd), "a tool of exploits"},
    {SCMP_SYS(perf_event_open), "a tool of exploits"},
    {SCMP_SYS(io_uring_setup), "goes around this filter"},
    {SCMP_SYS(io_uring_enter), "goes around this filter"},
    {SCMP_SYS(io_uring_register), "goes around this filter"},
    {SCMP_SYS(setuid), "another user"},
    {SCMP_SYS(setgid), "another user"},
};

// A port is taken down at the end: AF_XDP removes its program (NET_ADMIN, BPF), PCI ports write to
// their configuration space.
constexpr unsigned kKept[] = {CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_IPC_LOCK, CAP_SYS_RAWIO};

int deny_executable_memory(scmp_filter_ctx filter) {
  const auto deny = SCMP_ACT_ERRNO(EPERM);
  const int error = seccomp_rule_add(filter, deny, SCMP_SYS(mprotect), 1,
                                     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
  if (error != 0) return error;
  return seccomp_rule_add(filter, deny, SCMP_SYS(mmap), 1,
                          SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
}

}  // namespace

std::string protect_memory() {
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) return "core dumps could not be turned off";
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return "PR_SET_DUMPABLE was refused";
  if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) {
    return "memory is not locked: secrets may reach the swap; raise LimitMEMLOCK";
  }
  return {};
}

std::string drop_capabilities() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return "PR_SET_NO_NEW_PRIVS was refused";
  if (capng_get_caps_process() != 0) return "the capabilities could not be read";
  bool had[std::size(kKept)];
  for (size_t i = 0; i < std::size(kKept); ++i) {
    had[i] = capng_have_capability(CAPNG_PERMITTED, kKept[i]) != 0;
  }
  capng_clear(CAPNG_SELECT_CAPS);
  for (size_t i = 0; i < std::size(kKept); ++i) {
    if (!had[i]) continue;
    const auto sets = static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED);
    if (capng_update(CAPNG_ADD, sets, kKept[i]) != 0) {
      return "a capability could not be kept";
    }
  }
  return capng_apply(CAPNG_SELECT_CAPS) == 0 ? "" : "the capabilities could not be dropped";
}

std::string enter_seccomp() {
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  if (filter == nullptr) return "seccomp is not available";
  int error = 0;
  for (const Rule& rule : kDenied) {
    if (error == 0) error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), rule.call, 0);
  }
  if (error == 0) error = deny_executable_memory(filter);
  if (error == 0) error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
  if (error == 0) error = seccomp_load(filter);
  seccomp_release(filter);
  return error == 0 ? "" : std::string("the seccomp filter was refused: ") + std::strerror(-error);
}

}  // namespace sluice::dataplane
