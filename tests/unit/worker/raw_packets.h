// IPv4 packets that no socket would send: a SYN in two fragments, an ICMP error.
#pragma once

#include <cstdint>

namespace sluice::dataplane::test {

// From kKernel4 and `port` to the service. False: the kernel did not send it.
bool send_fragmented_syn(uint16_t port);
// "Administratively prohibited", about a segment of the service's to kKernel4 and `port`.
bool send_unreachable(uint16_t port);

}  // namespace sluice::dataplane::test
