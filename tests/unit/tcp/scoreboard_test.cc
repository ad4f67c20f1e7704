// The scoreboard against a model that knows of every byte whether it is SACKed, lost or sent again,
// and nothing else. Thousands of steps from a seed; after each one both must agree.
#include "tcp/scoreboard.h"

#include <gtest/gtest.h>

#include <set>

#include "../../sim/testbed.h"
#include "tcp/ack_news.h"
#include "tcp/seq.h"

namespace sluice::tcp {
namespace {

using testbed::Host;
using testbed::Random;

constexpr uint32_t kMss = 100;
constexpr uint32_t kQueuedBytes = 60'000;

struct Byte {
  bool sacked = false;
  bool lost = false;
  bool resent = false;
  bool reported = false;  // by any block, as part of a packet or not
};

PoolSizes sizes(uint32_t records) { return {4096, 1, records, 1}; }

class Model {
 public:
  // With records for all that the model can send both must agree exactly.
  Model(uint64_t seed, uint32_t records, bool enough)
      : exact(enough), host(TcpConfig{}, sizes(records), 1), random(seed) {
    tcb().state = State::Established;
    tcb().mss = kMss;
    tcb().sack_permitted = true;
    tcb().max_snd_wnd = tcb().snd_wnd = 1U << 30;
    tcb().rcv_nxt = tcb().rcv_adv = tcb().last_ack_sent = 1;
    tcb().congestion.cwnd_bytes = 1U << 30;
    tcb().output_wanted = true;
    // Around the end of the number space, now and then.
    base = static_cast<uint32_t>(random.pick<uint64_t>({1000, 0xffffff00, 0x7fffff00}));
    tcb().snd_una = tcb().snd_nxt = tcb().snd_max = base;
    queue();
  }
  ~Model() {
    end_flight(host.stack, tcb());
    tcp_release(host.stack, tcb());
    EXPECT_TRUE(host.all_returned());
  }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  void step();
  void check();
  // Of the scoreboard only that it knows nothing that nobody said.
  void check_subset();

 private:
  Tcb& tcb() { return host.tcb; }
  Pool<SentRecord>& records() { return host.pools.records; }
  uint32_t una() { return tcb().snd_una - base; }
  uint32_t nxt() { return tcb().snd_nxt - base; }

  void queue() {
    while (tcb().send.readable_bytes() < kQueuedBytes) {
      const std::vector<uint8_t> slice(random.between(1, 700), 'x');
      ASSERT_TRUE(host.send(slice.data(), static_cast<uint32_t>(slice.size())));
    }
  }
  void send();
  void acknowledge();
  void report();
  void mark(const net::SackBlock& block, uint32_t& newly);
  void lose();
  void resend();
  uint32_t place(uint32_t low, uint32_t high);
  // One past the packet that begins at `at`.
  uint32_t packet_end(uint32_t at) {
    const auto next = packets.upper_bound(at);
    return next == packets.end() ? nxt() : std::min(*next, nxt());
  }

  const bool exact;
  Host host;
  Random random;
  uint32_t base = 0;
  Micros now = kSecond;
  std::vector<Byte> bytes;     // since the beginning
  std::set<uint32_t> packets;  // where packets begin
};

// A number of [low, high], mostly a packet's beginning.
uint32_t Model::place(uint32_t low, uint32_t high) {
  const auto at = static_cast<uint32_t>(random.between(low, high));
  if (random.chance(0.2)) return at;
  const auto next = packets.lower_bound(at);
  return next == packets.end() ? high : std::min(*next, high);
}

void Model::send() {
  const uint32_t length = random.chance(0.5) ? kMss : static_cast<uint32_t>(random.between(1, 900));
  if (nxt() - una() + length > kQueuedBytes) return;
  if (tcb().in_flight == nullptr) {
    if (host.pools.records.free_count() == 0) return;
    begin_flight(host.stack, tcb());
  }
  if (!can_record(host.stack, tcb())) return;
  if (tcb().cursor.node == kNoNode) advance_cursor(host.stack, tcb().send, tcb().cursor, 0);
  record_sent(host.stack, tcb(), tcb().cursor, false, now);
  advance_cursor(host.stack, tcb().send, tcb().cursor, length);
  for (uint32_t at = 0; at < length; at += kMss) packets.insert(nxt() + at);
  tcb().snd_nxt += length;
  tcb().snd_max = tcb().snd_nxt;
  bytes.resize(nxt());
}

void Model::acknowledge() {
  // Between packets: in the middle of one the scoreboard knows no longer where the next begin.
  const auto middle = static_cast<uint32_t>(random.between(una(), nxt()));
  const auto next = packets.lower_bound(middle);
  const uint32_t edge = next == packets.end() ? nxt() : std::min(*next, nxt());
  const uint32_t to = exact ? edge : middle;
  if (to == una()) return;
  AckNews news;
  uint32_t delivered = 0;
  for (uint32_t i = una(); i < to; ++i) delivered += bytes[i].sacked ? 0 : 1;
  note_acknowledged(host.stack, tcb(), base + to, {now, false, 0}, news);
  if (exact) {
    EXPECT_EQ(news.delivered_bytes, delivered);
  }
  const uint32_t acked = to - una();
  const uint32_t sent = nxt() - una();
  tcb().send.consume(host.stack.nodes, acked);
  if (acked >= sent) {
    tcb().cursor = SendCursor{};
  } else if (tcb().cursor.node == host.stack.nodes.index_of(tcb().send.head())) {
    tcb().cursor.offset = sent - acked;
  }
  tcb().snd_una = base + to;
  align_first_record(host.stack, tcb());
  if (una() == nxt()) end_flight(host.stack, tcb());
  queue();
}

// RFC 2018 5: whole packets alone.
void Model::mark(const net::SackBlock& block, uint32_t& newly) {
  if (!seq_less(block.start, block.end)) return;
  if (!seq_less(tcb().snd_una, block.start) || seq_less(tcb().snd_nxt, block.end)) return;
  const uint32_t start = block.start - base;
  const uint32_t end = block.end - base;
  for (uint32_t i = start; i < end; ++i) bytes[i].reported = true;
  for (uint32_t at = una(); at < nxt();) {
    const uint32_t stop = packet_end(at);
    if (start <= at && stop <= end) {
      for (uint32_t i = at; i < stop; ++i) {
        newly += bytes[i].sacked ? 0 : 1;
        bytes[i].sacked = true;
        bytes[i].lost = bytes[i].resent = false;
      }
    }
    at = stop;
  }
}

void Model::report() {
  net::Segment segment;
  segment.ack = tcb().snd_una;
  segment.options.sack_count = static_cast<uint8_t>(random.between(1, 4));
  AckNews news;
  uint32_t newly = 0;
  for (uint32_t i = 0; i < segment.options.sack_count; ++i) {
    net::SackBlock& block = segment.options.sack[i];
    block = {base + place(una(), nxt()), base + place(una(), nxt())};
    if (seq_less(block.end, block.start) && random.chance(0.9)) std::swap(block.start, block.end);
    if (random.chance(0.05)) block.end += static_cast<uint32_t>(random.between(1, 1000));
    if (random.chance(0.05)) block.start -= static_cast<uint32_t>(random.between(1, 1000));
    // A first block below snd_una would be a D-SACK, below half of the space anything.
    mark(block, newly);
  }
  note_sacked(host.stack, tcb(), segment, {now, false, 0}, news);
  if (exact) {
    EXPECT_EQ(news.sacked_bytes, newly);
  }
}

void Model::lose() {
  if (random.chance(0.1)) {
    // What was joined when it was SACKed is no longer known by packets when that is taken back.
    const bool everything = random.chance(0.5) && !(exact && tcb().in_flight->sacked_bytes != 0);
    if (everything) {
      mark_all_lost(host.stack, tcb());
    } else {
      clear_lost(host.stack, tcb());
    }
    for (uint32_t i = una(); i < nxt(); ++i) {
      if (everything) bytes[i].sacked = false;
      bytes[i].lost = everything;
      bytes[i].resent = false;
    }
    return;
  }
  for (uint32_t index = tcb().in_flight->first; index != kNoRecord; index = records()[index].next) {
    const SentRecord record = records()[index];
    if (record.sacked || !random.chance(0.1)) continue;
    mark_lost(host.stack, tcb(), index);
    for (uint32_t i = record.seq - base; i < record_end(host.stack, tcb(), record) - base; ++i) {
      bytes[i].lost = true;
      bytes[i].resent = false;
    }
  }
}

void Model::resend() {
  const uint32_t index = next_lost_record(host.stack, tcb());
  if (index == kNoRecord) return;
  const uint32_t start = records()[index].seq - base;
  const uint32_t stop = record_end(host.stack, tcb(), records()[index]) - base;
  uint32_t end = start;
  for (uint64_t left = random.between(1, 4); left != 0 && end != stop; --left) {
    end = std::min(packet_end(end), stop);
  }
  record_resent(host.stack, tcb(), index, end - start, now);
  for (uint32_t i = start; i < end; ++i) bytes[i].resent = true;
}

void Model::step() {
  now += random.below(20) * 100;
  const uint64_t what = random.below(10);
  if (tcb().in_flight == nullptr || what < 4) return send();
  if (what < 6) return report();
  if (what < 7) return acknowledge();
  if (what < 8) return lose();
  resend();
}

void Model::check() {
  check_invariants(host.stack, tcb());
  uint32_t pipe = 0;
  uint32_t first_lost = nxt();
  for (uint32_t i = una(); i < nxt(); ++i) {
    const Byte& byte = bytes[i];
    pipe += byte.sacked || (byte.lost && !byte.resent) ? 0 : 1;
    if (byte.lost && !byte.resent) first_lost = std::min(first_lost, i);
  }
  ASSERT_EQ(pipe_bytes(tcb()), pipe);
  if (tcb().in_flight == nullptr) return;
  const uint32_t next = next_lost_record(host.stack, tcb());
  ASSERT_EQ(next == kNoRecord ? nxt() : records()[next].seq - base, first_lost);
  for (uint32_t index = tcb().in_flight->first; index != kNoRecord; index = records()[index].next) {
    const SentRecord& record = records()[index];
    for (uint32_t i = record.seq - base; i < record_end(host.stack, tcb(), record) - base; ++i) {
      ASSERT_EQ(record.sacked != 0, bytes[i].sacked) << i;
      ASSERT_EQ(record.lost != 0, bytes[i].lost) << i;
      ASSERT_EQ(record.resent != 0, bytes[i].resent) << i;
    }
  }
}

void Model::check_subset() {
  check_invariants(host.stack, tcb());
  if (tcb().in_flight == nullptr) return;
  for (uint32_t index = tcb().in_flight->first; index != kNoRecord; index = records()[index].next) {
    const SentRecord& record = records()[index];
    if (!record.sacked) continue;
    for (uint32_t i = record.seq - base; i < record_end(host.stack, tcb(), record) - base; ++i) {
      ASSERT_TRUE(bytes[i].reported) << i;
    }
  }
}

TEST(Scoreboard, AgreesWithAModelOfBytes) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Model model(seed, 4096, true);
    for (uint32_t step = 0; step < 1500; ++step) {
      SCOPED_TRACE("seed " + std::to_string(seed) + " step " + std::to_string(step));
      model.step();
      model.check();
      if (testing::Test::HasFailure()) return;
    }
  }
}

TEST(Scoreboard, KnowsLessWhereRecordsAreScarce) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Model model(seed, static_cast<uint32_t>(1 + seed % 12), false);
    for (uint32_t step = 0; step < 1500; ++step) {
      SCOPED_TRACE("seed " + std::to_string(seed) + " step " + std::to_string(step));
      model.step();
      model.check_subset();
      if (testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace sluice::tcp
