// The reassembly list against a model: a map from position to byte in which the first copy wins.
// Positions are relative to a base that may stand just below 2^32. Bounds make the list drop
// bytes; then what it holds is taken over into the model, which goes on from there.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "../sim/testbed.h"
#include "abi/assert.h"
#include "abi/limits.h"
#include "tcp/reassembly.h"
#include "tcp/seq.h"

namespace sluice::testbed {
namespace {

constexpr uint32_t kSpanBytes = 20'000;

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  uint32_t half() { return static_cast<uint32_t>(byte()) << 8 | byte(); }

 private:
  const uint8_t* data_;
  size_t left_;
};

class Fuzz {
 public:
  Fuzz(uint32_t base, uint32_t nodes, bool small_buffers)
      : host_(tcp::TcpConfig{}, nodes), base_(base) {
    if (!small_buffers) host_.stack.small_buffers = {};
  }
  void step(Input& input);
  void finish();

 private:
  using Model = std::map<uint32_t, uint8_t>;

  void insert(Input& input);
  void deliver(Input& input);
  void prune(uint32_t held_limit_bytes);
  void cut(uint32_t at);
  Model contents() const;
  void check() const;

  Host host_;
  tcp::Reassembly held_;
  tcp::SliceQueue queue_;
  Model model_;  // of what is out of order, by position
  uint32_t base_;
  uint32_t next_ = 0;  // position of rcv_nxt
  uint8_t stamp_ = 0;  // each slice has its own bytes
};

Fuzz::Model Fuzz::contents() const {
  Model bytes;
  if (held_.list == nullptr) return bytes;
  for (const tcp::SliceNode* node = held_.list->head; node != nullptr; node = node->next) {
    for (uint32_t i = 0; i < node->length; ++i) bytes[node->seq - base_ + i] = node->data[i];
  }
  return bytes;
}

// The list's own numbers, and its bytes against the model's.
void Fuzz::check() const {
  SLUICE_ASSERT(contents() == model_);
  SLUICE_ASSERT(held_.empty() == model_.empty());
  if (held_.list == nullptr) return;
  const tcp::ReassemblyList& list = *held_.list;
  SLUICE_ASSERT(list.head != nullptr || list.duplicate.start != list.duplicate.end);
  uint32_t nodes = 0;
  uint32_t ranges = 0;
  uint32_t held = 0;
  const tcp::SliceNode* last = nullptr;
  for (const tcp::SliceNode* node = list.head; node != nullptr; node = node->next) {
    SLUICE_ASSERT(node->length != 0 && tcp::seq_less(base_ + next_, node->seq));
    const uint32_t end = last == nullptr ? node->seq - 1 : last->seq + last->length;
    SLUICE_ASSERT(tcp::seq_leq(end, node->seq));
    if (end != node->seq) ++ranges;
    ++nodes;
    held += node->owner->truesize_bytes;
    last = node;
  }
  SLUICE_ASSERT(last == list.tail && nodes == list.nodes && ranges == list.ranges);
  SLUICE_ASSERT(held == list.held_bytes && ranges <= abi::kMaxOutOfOrderRanges);
  net::TcpOptions options;
  tcp::reassembly_fill_sack(held_, options, 4);
  SLUICE_ASSERT(options.sack_count <= 4);
  for (uint32_t i = 0; i < options.sack_count; ++i) {
    const net::SackBlock& block = options.sack[i];
    SLUICE_ASSERT(tcp::seq_less(block.start, block.end));
    const bool duplicate = i == 0 && list.duplicate.start != list.duplicate.end;
    if (duplicate) continue;
    SLUICE_ASSERT(model_.count(block.start - base_) != 0);
    SLUICE_ASSERT(model_.count(block.start - base_ - 1) == 0);  // the whole run
    SLUICE_ASSERT(model_.count(block.end - base_) == 0);
  }
}

void Fuzz::insert(Input& input) {
  const uint32_t at = next_ + 1 + input.half() % kSpanBytes;
  const uint32_t length = 1 + ((input.byte() & 1) != 0 ? input.half() % 3000 : input.byte() % 20);
  const uint32_t truesize = (input.byte() & 1) != 0 ? 2304 : length + 1;
  const uint32_t limit = (input.byte() & 7) == 0 ? input.half() : UINT32_MAX;
  std::vector<uint8_t> bytes(length);
  for (uint32_t i = 0; i < length; ++i) bytes[i] = static_cast<uint8_t>(stamp_ + i * 5);
  ++stamp_;
  const net::Slice slice = host_.buffers.make(bytes.data(), length, std::max(truesize, length));
  const bool whole = tcp::reassembly_insert(host_.stack, held_, base_ + at, slice, limit);
  tcp::reassembly_note_arrival(held_, base_ + at);
  net::release(slice.owner);
  Model wanted = model_;
  for (uint32_t i = 0; i < length; ++i) wanted.emplace(at + i, bytes[i]);
  const Model got = contents();
  // Of what came all, or a part; of what was there everything.
  SLUICE_ASSERT(std::includes(wanted.begin(), wanted.end(), got.begin(), got.end()));
  SLUICE_ASSERT(std::includes(got.begin(), got.end(), model_.begin(), model_.end()));
  SLUICE_ASSERT(!whole || got == wanted);
  model_ = got;
}

void Fuzz::deliver(Input& input) {
  const uint32_t in_order = 1 + input.half() % 400;  // came in order, over what is held or not
  next_ += in_order;
  std::vector<uint8_t> wanted;
  model_.erase(model_.begin(), model_.lower_bound(next_));
  while (!model_.empty() && model_.begin()->first == next_) {
    wanted.push_back(model_.begin()->second);
    model_.erase(model_.begin());
    ++next_;
  }
  const uint32_t rcv_nxt = tcp::reassembly_deliver(
      host_.stack, held_, queue_, base_ + next_ - static_cast<uint32_t>(wanted.size()));
  SLUICE_ASSERT(rcv_nxt == base_ + next_);
  std::vector<uint8_t> got(queue_.readable_bytes());
  queue_.peek(0, got.data(), queue_.readable_bytes());
  SLUICE_ASSERT(got == wanted);
  queue_.clear(host_.pools.nodes);
}

void Fuzz::prune(uint32_t held_limit_bytes) {
  tcp::reassembly_prune(host_.stack, held_, held_limit_bytes);
  SLUICE_ASSERT(held_.held_bytes() <= held_limit_bytes);
  const Model got = contents();  // a beginning of what was there
  SLUICE_ASSERT(got.size() <= model_.size());
  SLUICE_ASSERT(std::equal(got.begin(), got.end(), model_.begin()));
  model_ = got;
}

void Fuzz::cut(uint32_t at) {
  tcp::reassembly_cut(host_.stack, held_, base_ + at);
  model_.erase(model_.lower_bound(at), model_.end());
}

void Fuzz::step(Input& input) {
  const uint8_t what = input.byte();
  if (what < 160) {
    insert(input);
  } else if (what < 210) {
    deliver(input);
  } else if (what < 220) {
    prune(input.half());
  } else if (what < 230) {
    cut(next_ + 1 + input.half() % kSpanBytes);
  } else if (what < 245) {
    tcp::reassembly_note_duplicate(host_.stack, held_, base_ + next_ - 10, base_ + next_);
  } else {
    tcp::reassembly_note_reported(host_.stack, held_);
  }
  check();
}

void Fuzz::finish() {
  tcp::reassembly_prune(host_.stack, held_, 0);
  SLUICE_ASSERT(host_.all_returned());
}

}  // namespace
}  // namespace sluice::testbed

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  testbed::Input input(data, size);
  const uint8_t how = input.byte();
  const uint32_t base = (how & 1) != 0 ? 0xffffff00U : 0x12345678U;
  const uint32_t nodes = (how & 2) != 0 ? 16 : 1024;
  testbed::Fuzz fuzz(base, nodes, (how & 4) == 0);
  while (!input.empty()) fuzz.step(input);
  fuzz.finish();
  return 0;
}
