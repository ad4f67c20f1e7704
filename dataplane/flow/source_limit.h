// How many flows the clients of one network have, without a list of networks: whoever invents
// addresses must not be able to fill one.
#pragma once

#include <cstdint>
#include <memory>

#include "abi/address.h"

namespace sluice::flow {

struct SourceLimit {
  uint32_t max_flows = 0;  // of one source prefix; 0: no limit
  uint8_t ipv4_bits = 24;  // what counts as one source
  uint8_t ipv6_bits = 56;
};

// A count-min sketch under a secret key: each prefix has one counter in each of two rows, and its
// count is at most the lesser. Two strangers must share both to be counted together.
class SourceLimiter {
 public:
  // For up to `max_flows` flows in all; allocates here and never again.
  SourceLimiter(const SourceLimit& limit, uint32_t max_flows, const uint8_t key[16]);

  // Counts a flow of `client`. False: its prefix has as many as it may, and it was not counted.
  bool enter(const abi::IpAddress& client);
  // A counted flow has ended.
  void leave(const abi::IpAddress& client);

 private:
  struct Cells {
    uint32_t* first;
    uint32_t* second;
  };
  Cells cells(const abi::IpAddress& client);

  SourceLimit limit_;
  uint32_t mask_ = 0;
  std::unique_ptr<uint32_t[]> rows_;  // two rows; none without a limit
  uint8_t key_[16];
};

}  // namespace sluice::flow
