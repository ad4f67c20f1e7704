// What the dataplane gives up once its ports are open and its threads run.
#pragma once

#include <string>

namespace sluice::dataplane {

// No core dumps, no ptrace by others, no swapping. Returns what the system refused, or nothing.
// Before any secret is there.
std::string protect_memory();

// Drops the capabilities that a running dataplane does not use. Capabilities belong to a thread:
// each calls this for itself, the workers before their first turn. A sentence when it fails.
std::string drop_capabilities();

// Denies the system calls by which an intruder would go on, for all threads. A sentence when it
// fails.
std::string enter_seccomp();

}  // namespace sluice::dataplane
