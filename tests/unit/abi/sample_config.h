// A complete and valid configuration file, as a user writes it. Tests change one thing in it.
#pragma once

namespace sluice::abi::config::test {

inline constexpr char kSampleConfig[] = R"toml(# Both programs read this file.
[dataplane]
control_socket = "run/dataplane.sock"  # sluice-control attaches here (UNIX SOCK_SEQPACKET)
workers = [1]                   # processor ids; one poll-mode worker on each
main_core = 0                   # where the dataplane's main thread (slow path: attach, logs) runs
idle = "relax"                  # "spin" | "relax"
hugepages = "auto"              # "auto" | "required" | "off"
memory_mib = 1024               # EAL memory
max_connections = 65536         # per worker
handshake_wait_ms = 10000       # how long a new connection waits for control / a handshake may take
idle_timeout_ms = 300000        # established connection without any byte
eal_arguments = []              # optional extra EAL arguments

[[port]]
name = "client"
device = "net_af_xdp0,iface=dp-client,start_queue=0,queue_count=1,busy_budget=0"
addresses = ["10.99.1.10/24"]
mtu = 1500                      # optional
vlan = 0                        # optional, 0 = untagged
gateway = "10.99.1.1"           # optional

[[port]]
name = "backend"
device = "net_af_xdp1,iface=dp-backend,start_queue=0,queue_count=1,busy_budget=0"
addresses = ["10.99.2.10/24"]

[[listener]]
name = "https"
address = "10.99.1.10:443"      # address must be one of a port's
protocol = "tls"                # "tls" | "tcp" (a plain relay, needs `backend`)

[[listener]]
name = "plain"
address = "10.99.1.10:80"
protocol = "tcp"
backend = "files"

[[backend]]
name = "files"
address = "10.99.2.2:8080"

[[backend]]
name = "files-h2c"
address = "10.99.2.2:8081"

[[backend]]
name = "echo"
address = "10.99.2.2:7"

[control]
admin_socket = "run/admin.sock" # sluicectl talks here
handshake_threads = 1           # 1..8
processors = [0]                # optional: where control's threads may run
log_format = "text"             # "text" | "json"
log_level = "info"              # "debug" | "info" | "warning" | "error"

[tls]
policy = "intermediate-5.8"     # "modern-5.8" | "intermediate-5.8" | "old-5.8" | a [policy.NAME]
unknown_sni = "default"         # "default" (default certificate) | "reject" (unrecognized_name)

[[host]]
names = ["rsa.sluice.test"]
certificates = [{ chain = "rsa.pem", key = "rsa.key" }]
alpn = ["h2", "http/1.1"]       # optional, server preference order
backend = "files"
backend_by_alpn = { h2 = "files-h2c" }  # optional
default = true                  # exactly one host may be the default

[[host]]
names = ["dual.sluice.test"]
certificates = [{ chain = "dual-rsa.pem", key = "dual-rsa.key" },
                { chain = "dual-ecdsa.pem", key = "dual-ecdsa.key" }]
backend = "files"

[[host]]
names = ["*.wild.sluice.test"]
certificates = [{ chain = "wild.pem", key = "wild.key" }]
backend = "files"
)toml";

}  // namespace sluice::abi::config::test
