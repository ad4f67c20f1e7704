// What the process gives up once it has started. Each function answers with an empty string, or
// with a sentence that says why it failed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::control {

// No core dumps, no ptrace by others, no swapping. What the system refuses is logged.
void protect_memory();

// Empty: anywhere. For this thread and those it starts.
[[nodiscard]] std::string pin_to_processors(const std::vector<uint16_t>& processors);

// As root: becomes `user`, when one is given, and drops every capability but IPC_LOCK. Before
// threads start, since capabilities belong to a thread.
[[nodiscard]] std::string drop_privileges(const std::string& user);

// The system calls that are left, for all threads. After everything that opens a path.
[[nodiscard]] std::string enter_seccomp();

}  // namespace sluice::control
