// Rows of at least twice as many counters as there can be flows. With a keyed hash nobody can aim
// at a prefix, and by chance a stranger shares both counters with a probability of flows^2 over the
// square of a row's length.
#include "flow/source_limit.h"

#include <bit>
#include <cstring>

#include "abi/assert.h"
#include "tcp/siphash.h"

namespace sluice::flow {
namespace {

constexpr uint8_t kIpv4PrefixInIpv6 = 96;

void keep_prefix(abi::IpAddress& address, uint32_t bits) {
  for (uint32_t byte = 0; byte < 16; ++byte) {
    const uint32_t kept = bits > 8 * byte ? bits - 8 * byte : 0;
    if (kept < 8) address.bytes[byte] &= static_cast<uint8_t>(0xff00U >> kept);
  }
}

}  // namespace

SourceLimiter::SourceLimiter(const SourceLimit& limit, uint32_t max_flows, const uint8_t key[16])
    : limit_(limit) {
  std::memcpy(key_, key, sizeof key_);
  if (limit.max_flows == 0) return;
  const uint32_t row = std::bit_ceil(2 * max_flows);
  mask_ = row - 1;
  rows_ = std::make_unique<uint32_t[]>(2 * static_cast<size_t>(row));
}

SourceLimiter::Cells SourceLimiter::cells(const abi::IpAddress& client) {
  abi::IpAddress prefix = client;
  keep_prefix(prefix,
              client.is_ipv4() ? kIpv4PrefixInIpv6 + uint32_t{limit_.ipv4_bits} : limit_.ipv6_bits);
  tcp::SipHashKey key;
  std::memcpy(key.data(), key_, sizeof key_);
  const uint64_t hash = tcp::siphash24(key, prefix.bytes.data(), prefix.bytes.size());
  const uint32_t first = static_cast<uint32_t>(hash) & mask_;
  const uint32_t second = static_cast<uint32_t>(hash >> 32) & mask_;
  return {&rows_[first], &rows_[mask_ + size_t{1} + second]};
}

bool SourceLimiter::enter(const abi::IpAddress& client) {
  if (limit_.max_flows == 0) return true;
  const Cells at = cells(client);
  if (*at.first >= limit_.max_flows && *at.second >= limit_.max_flows) return false;
  ++*at.first;
  ++*at.second;
  return true;
}

void SourceLimiter::leave(const abi::IpAddress& client) {
  if (limit_.max_flows == 0) return;
  const Cells at = cells(client);
  SLUICE_ASSERT(*at.first != 0 && *at.second != 0);
  --*at.first;
  --*at.second;
}

}  // namespace sluice::flow
