// TCP options: what is read stays within its ranges, and a header written with it reads the same.
#include "frame_input.h"

namespace sluice::fuzz {
namespace {

void check_ranges(const net::TcpOptions& options, bool syn) {
  SLUICE_ASSERT(options.sack_count <= options.sack.size() && options.window_scale <= 14);
  SLUICE_ASSERT(options.has_timestamps || (options.tsval == 0 && options.tsecr == 0));
  SLUICE_ASSERT(options.has_window_scale || options.window_scale == 0);
  if (syn) return;
  SLUICE_ASSERT(options.mss == 0 && !options.sack_permitted && !options.has_window_scale);
}

// All but SACK blocks that the header has no room for beside the rest.
void check_same(const net::TcpOptions& a, const net::TcpOptions& b) {
  SLUICE_ASSERT(a.has_timestamps == b.has_timestamps && a.tsval == b.tsval && a.tsecr == b.tsecr);
  SLUICE_ASSERT(a.mss == b.mss && a.sack_permitted == b.sack_permitted);
  SLUICE_ASSERT(a.has_window_scale == b.has_window_scale && a.window_scale == b.window_scale);
  SLUICE_ASSERT(b.sack_count <= a.sack_count);
  SLUICE_ASSERT(b.sack_count == a.sack_count || a.sack_count > 2 || a.mss != 0);
  for (uint32_t i = 0; i < b.sack_count; ++i) {
    SLUICE_ASSERT(a.sack[i].start == b.sack[i].start && a.sack[i].end == b.sack[i].end);
  }
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  fuzz::Input input(data, size);
  const bool syn = (input.byte() & 1) != 0;
  std::vector<uint8_t> bytes = input.bytes(net::kMaxTcpOptionBytes);
  bytes.shrink_to_fit();
  net::Segment segment;
  if (!net::parse_tcp_options(bytes, syn, segment.options)) return 0;
  fuzz::check_ranges(segment.options, syn);
  segment.flags = syn ? net::kSyn : net::kAck;
  for (const bool ipv4 : {true, false}) {
    segment.tuple.local = {ipv4 ? fuzz::kOur4 : fuzz::kOur6, 443};
    segment.tuple.remote = {ipv4 ? fuzz::kPeer4 : fuzz::kPeer6, 40000};
    std::vector<uint8_t> out(net::kMaxHeaderBytes);
    const net::Interface interface = fuzz::us();
    const uint32_t length = net::build_headers(
        {segment, interface, fuzz::kPeerMac, {}, net::ChecksumBy::Software, 0}, out.data());
    SLUICE_ASSERT(length == net::header_bytes(segment, interface));
    const uint32_t fixed =
        net::kEthernetBytes + net::ip_header_bytes(segment) + net::kTcpHeaderBytes;
    SLUICE_ASSERT(length >= fixed && length - fixed <= net::kMaxTcpOptionBytes);
    net::TcpOptions again;
    SLUICE_ASSERT(net::parse_tcp_options({out.data() + fixed, length - fixed}, syn, again));
    fuzz::check_same(segment.options, again);
  }
  return 0;
}
