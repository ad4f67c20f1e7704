// A port that spreads by RSS, in software: no virtual device here has a key and a table. A process
// of its own between a kernel interface (net_tap) and a memif with one queue for each worker: what
// the kernel sends goes to the queue that the plain Toeplitz hash and the table name, what the
// workers send goes to the kernel. Or, for one worker, a vhost port, which lets the workers hand
// over segments of 64 KiB and unfinished checksums; these are cut and completed here.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <string>

#include "net/rss.h"

namespace sluice::dataplane::test {

enum class Link : uint8_t { Memif, Vhost };

struct SpreadPlan {
  net::RssSettings settings;
  Link link = Link::Memif;
  uint16_t queues = 1;
  std::string interface;  // the kernel's end
  std::string socket;     // the workers': net_memif with role=client, or net_virtio_user
};

class SpreadPort {
 public:
  // Starts the process, before DPDK is started in this one.
  explicit SpreadPort(const SpreadPlan& plan);
  ~SpreadPort();
  SpreadPort(const SpreadPort&) = delete;
  SpreadPort& operator=(const SpreadPort&) = delete;
  bool wait_ready();
  // From now on packets go where the table does not say: a port that lies.
  void misdirect() { shared_->misdirected = true; }
  uint32_t largest_bytes() const { return shared_->largest_bytes; }  // from the workers

 private:
  struct Shared {
    std::atomic<bool> ready{false};
    std::atomic<bool> failed{false};
    std::atomic<bool> stop{false};
    std::atomic<bool> misdirected{false};
    std::atomic<uint32_t> largest_bytes{0};
  };
  static int run(const SpreadPlan& plan, Shared& shared);

  Shared* shared_;
  pid_t process_;
};

}  // namespace sluice::dataplane::test
