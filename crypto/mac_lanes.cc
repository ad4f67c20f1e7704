// HMAC in lanes.
//
// Job: each lane takes a record through four stages: its first block (pseudo header and the start
// of the message, put together in the lane's scratch), the blocks that are message alone, read
// where they lie, the tail, and the outer hash. All lanes compress the same number of blocks in one
// call: the least that one of them has left in its stage. A lane that is through takes the next
// job.
//
// Constant time. With a length in [max - 255, max], the blocks that hold message whatever the
// length is are known, and so is the number of blocks behind them at most: the tail, of up to six
// blocks. The tail is laid out for the greatest length and then masked: bytes from the length on
// become zero, the byte at it 0x80, and the bit count is ORed into the block that is the last one
// for this length. All tail blocks are compressed; the state behind that last one is kept by mask.
// Which lane does what when follows from the jobs' order, hashes and public lengths.
//
// Data flow: key.inner_state -> states -> captured -> scratch -> key.outer_state -> mac.
#include "crypto/mac_lanes.h"

#include <algorithm>
#include <cstring>

#include "crypto/constant_time.h"
#include "crypto/secret.h"
#include "crypto/sha_constants.h"

namespace sluice::crypto {
namespace {

template <typename Word>
void store_big_endian(uint8_t* out, Word word) {
  const Word swapped = sizeof(Word) == 4
                           ? static_cast<Word>(__builtin_bswap32(static_cast<uint32_t>(word)))
                           : static_cast<Word>(__builtin_bswap64(word));
  std::memcpy(out, &swapped, sizeof(swapped));
}

template <typename States>
class MacLanes {
 public:
  MacLanes(const ShaKernel<States>& kernel, Hash hash) : kernel_(kernel), hash_(hash) {}
  MacLanes(const MacLanes&) = delete;
  MacLanes& operator=(const MacLanes&) = delete;
  ~MacLanes() {
    secure_zero(&states_, sizeof(states_));
    secure_zero(lanes_, used_ * sizeof(Lane));
  }

  void run(std::span<MacJob> jobs) {
    rest_ = jobs;
    for (size_t lane = 0; lane < kernel_.lanes; ++lane) take_job(lane);
    while (active_ > 0) {
      step();
      for (size_t lane = 0; lane < kernel_.lanes; ++lane) {
        if (lanes_[lane].job != nullptr && lanes_[lane].blocks == 0) advance(lane);
      }
    }
  }

 private:
  using Word = typename States::Word;
  static constexpr uint32_t kBlock = States::kBlockBytes;
  static constexpr uint32_t kBitCount = 2 * sizeof(Word);  // bytes of it at the end of a message
  // Tail at most: a block that began before the least length, 255 bytes, 0x80, bit count.
  static constexpr uint32_t kTailBlocks =
      (kBlock - 1 + kMaxPaddingLength + 1 + kBitCount) / kBlock + 1;
  static constexpr uint32_t kScratch = kTailBlocks * kBlock;
  static_assert(kScratch % 32 == 0);

  enum class Stage : uint8_t { First, Message, Tail, Outer };

  struct Lane {
    MacJob* job = nullptr;  // null: idle
    const uint8_t* data = nullptr;
    size_t blocks = 0;  // to compress from `data` on, before `advance`
    Stage stage = Stage::First;
    uint32_t whole_blocks = 0;  // of pseudo header and message, whatever the length
    uint32_t tail_blocks = 0;
    uint32_t tail_done = 0;
    uint32_t last_block = 0;  // the number in the tail of the last block for the true length
    Word captured[States::kWords];
    alignas(32) uint8_t scratch[kScratch];
  };

  // Compresses what all active lanes can.
  void step() {
    if (active_ <= kernel_.few) {
      for (size_t i = 0; i < kernel_.lanes; ++i) {
        Lane& lane = lanes_[i];
        if (lane.job == nullptr) continue;
        kernel_.one(states_, i, lane.data, lane.blocks);
        lane.blocks = 0;
      }
      return;
    }
    const uint8_t* data[States::kMaxLanes];
    size_t blocks = SIZE_MAX;
    const uint8_t* some = nullptr;  // for the idle, who have nothing of their own to read
    for (size_t i = 0; i < kernel_.lanes; ++i) {
      const Lane& lane = lanes_[i];
      if (lane.job == nullptr) continue;
      // The lane with the fewest blocks is the one whose data the idle can read as many of.
      if (lane.blocks < blocks) {
        blocks = lane.blocks;
        some = lane.data;
      }
    }
    for (size_t i = 0; i < kernel_.lanes; ++i) {
      data[i] = lanes_[i].job == nullptr ? some : lanes_[i].data;
    }
    kernel_.all(states_, data, blocks);
    for (size_t i = 0; i < kernel_.lanes; ++i) {
      Lane& lane = lanes_[i];
      if (lane.job == nullptr) continue;
      lane.data += blocks * kBlock;
      lane.blocks -= blocks;
    }
  }

  void take_job(size_t index) {
    while (!rest_.empty() && rest_.front().key->mac_hash() != hash_) rest_ = rest_.subspan(1);
    Lane& lane = lanes_[index];
    if (rest_.empty()) {
      lane.job = nullptr;
      return;
    }
    MacJob& job = rest_.front();
    rest_ = rest_.subspan(1);
    ++active_;
    lane.job = &job;
    used_ = std::max(used_, index + 1);
    load_state(index, job.key->inner_state());
    const uint32_t spread = job.length_is_secret ? std::min(job.max_length, kMaxPaddingLength) : 0;
    const uint32_t least = kPseudoHeaderLength + job.max_length - spread;
    const uint32_t most = kPseudoHeaderLength + job.max_length;
    lane.whole_blocks = least / kBlock;
    lane.tail_blocks = (most + kBitCount) / kBlock + 1 - lane.whole_blocks;
    if (lane.whole_blocks == 0) {
      enter_tail(lane);
      return;
    }
    std::memcpy(lane.scratch, job.header, kPseudoHeaderLength);
    std::memcpy(lane.scratch + kPseudoHeaderLength, job.message, kBlock - kPseudoHeaderLength);
    enter(lane, Stage::First, lane.scratch, 1);
  }

  void advance(size_t index) {
    Lane& lane = lanes_[index];
    switch (lane.stage) {
      case Stage::First:
        if (lane.whole_blocks > 1) {
          enter(lane, Stage::Message, lane.job->message + kBlock - kPseudoHeaderLength,
                lane.whole_blocks - 1);
          return;
        }
        enter_tail(lane);
        return;
      case Stage::Message:
        enter_tail(lane);
        return;
      case Stage::Tail:
        capture(index);
        if (++lane.tail_done < lane.tail_blocks) {
          enter(lane, Stage::Tail, lane.scratch + size_t{lane.tail_done} * kBlock, 1);
          return;
        }
        enter_outer(index);
        return;
      case Stage::Outer:
        store_digest(index, lane.job->mac);
        --active_;
        take_job(index);
        return;
    }
  }

  void enter(Lane& lane, Stage stage, const uint8_t* data, size_t blocks) {
    lane.stage = stage;
    lane.data = data;
    lane.blocks = blocks;
  }

  void enter_tail(Lane& lane) {
    const MacJob& job = *lane.job;
    const uint32_t start = lane.whole_blocks * kBlock;  // counted from the pseudo header on
    uint8_t* at = lane.scratch;
    uint32_t from = 0;
    if (start == 0) {
      std::memcpy(at, job.header, kPseudoHeaderLength);
      at += kPseudoHeaderLength;
    } else {
      from = start - kPseudoHeaderLength;
    }
    const uint32_t public_bytes = job.max_length - from;
    if (public_bytes > 0) std::memcpy(at, job.message + from, public_bytes);
    at += public_bytes;
    const uint32_t tail_bytes = lane.tail_blocks * kBlock;
    std::memset(at, 0, static_cast<size_t>(lane.scratch + tail_bytes - at));

    const uint32_t covered = kPseudoHeaderLength + job.length;  // secret from here on
    const auto end = static_cast<int32_t>(covered - start);
    for (uint32_t chunk = 0; chunk < tail_bytes; chunk += sizeof(Bytes32)) {
      const int32_t left = end - static_cast<int32_t>(chunk);
      const Bytes32 bytes = load32(lane.scratch + chunk);
      store32(lane.scratch + chunk, (bytes & bytes_below(left)) | (byte_at(left) & uint8_t{0x80}));
    }
    lane.last_block = (covered + kBitCount) / kBlock - lane.whole_blocks;
    const uint32_t bits = (kBlock + covered) * 8;  // the inner key block counts
    for (uint32_t block = 0; block < lane.tail_blocks; ++block) {
      uint8_t* word = lane.scratch + size_t{block + 1} * kBlock - sizeof(uint32_t);
      uint32_t old;
      std::memcpy(&old, word, sizeof(old));
      old |= __builtin_bswap32(bits) & mask_equal(block, lane.last_block);
      std::memcpy(word, &old, sizeof(old));
    }
    std::fill_n(lane.captured, States::kWords, Word{0});
    lane.tail_done = 0;
    enter(lane, Stage::Tail, lane.scratch, 1);
  }

  void capture(size_t index) {
    Lane& lane = lanes_[index];
    const uint32_t mask32 = mask_equal(lane.tail_done, lane.last_block);
    const auto mask = static_cast<Word>(static_cast<int64_t>(static_cast<int32_t>(mask32)));
    for (size_t i = 0; i < States::kWords; ++i) {
      lane.captured[i] |= states_.words[i][index] & mask;
    }
  }

  void enter_outer(size_t index) {
    Lane& lane = lanes_[index];
    const uint32_t length = hash_length(hash_);
    std::memset(lane.scratch, 0, kBlock);
    for (size_t i = 0; i < length / sizeof(Word); ++i) {
      store_big_endian(lane.scratch + i * sizeof(Word), lane.captured[i]);
    }
    lane.scratch[length] = 0x80;
    store_big_endian<uint32_t>(lane.scratch + kBlock - sizeof(uint32_t), (kBlock + length) * 8);
    load_state(index, lane.job->key->outer_state());
    enter(lane, Stage::Outer, lane.scratch, 1);
  }

  void load_state(size_t index, const uint8_t* state) {
    for (size_t i = 0; i < States::kWords; ++i) {
      std::memcpy(&states_.words[i][index], state + i * sizeof(Word), sizeof(Word));
    }
  }

  void store_digest(size_t index, uint8_t* out) {
    for (size_t i = 0; i < hash_length(hash_) / sizeof(Word); ++i) {
      store_big_endian(out + i * sizeof(Word), states_.words[i][index]);
    }
  }

  const ShaKernel<States>& kernel_;
  const Hash hash_;
  std::span<MacJob> rest_;
  size_t active_ = 0;
  size_t used_ = 0;  // lanes that ever had a job
  States states_;
  Lane lanes_[States::kMaxLanes];
};

template <typename States>
void make_states(const ShaKernel<States>& kernel, const typename States::Word* start,
                 std::span<const uint8_t> key, uint8_t* inner_state, uint8_t* outer_state) {
  using Word = typename States::Word;
  constexpr uint8_t kPads[2] = {0x36, 0x5c};
  States states;
  alignas(64) uint8_t blocks[2][States::kBlockBytes];
  const uint8_t* data[States::kMaxLanes];
  std::fill_n(data, States::kMaxLanes, blocks[0]);
  data[1] = blocks[1];
  for (size_t pad = 0; pad < 2; ++pad) {
    std::fill_n(blocks[pad], States::kBlockBytes, kPads[pad]);
    for (size_t i = 0; i < key.size(); ++i) {
      blocks[pad][i] = static_cast<uint8_t>(blocks[pad][i] ^ key[i]);
    }
    for (size_t i = 0; i < States::kWords; ++i) states.words[i][pad] = start[i];
  }
  kernel.all(states, data, 1);
  for (size_t i = 0; i < States::kWords; ++i) {
    std::memcpy(inner_state + i * sizeof(Word), &states.words[i][0], sizeof(Word));
    std::memcpy(outer_state + i * sizeof(Word), &states.words[i][1], sizeof(Word));
  }
  secure_zero(&states, sizeof(states));
  secure_zero(blocks, sizeof(blocks));
}

template <typename States>
void run(const ShaKernel<States>& kernel, Hash hash, std::span<MacJob> jobs) {
  const auto has_hash = [&](const MacJob& job) { return job.key->mac_hash() == hash; };
  if (std::none_of(jobs.begin(), jobs.end(), has_hash)) return;
  MacLanes<States> lanes(kernel, hash);
  lanes.run(jobs);
}

}  // namespace

void mac_batch(const ShaKernels& kernels, std::span<MacJob> jobs) {
  run(kernels.sha1, Hash::Sha1, jobs);
  run(kernels.sha256, Hash::Sha256, jobs);
  run(kernels.sha512, Hash::Sha384, jobs);
}

void hmac_states(const ShaKernels& kernels, Hash hash, std::span<const uint8_t> key,
                 uint8_t* inner_state, uint8_t* outer_state) {
  switch (hash) {
    case Hash::Md5:
      return;
    case Hash::Sha1:
      make_states(kernels.sha1, kSha1Start, key, inner_state, outer_state);
      return;
    case Hash::Sha256:
      make_states(kernels.sha256, kSha256Start, key, inner_state, outer_state);
      return;
    case Hash::Sha384:
      make_states(kernels.sha512, kSha384Start, key, inner_state, outer_state);
      return;
  }
}

ShaKernels choose_sha_kernels(bool wide, bool sha) {
  ShaKernels kernels{{kMaxLanes32 / 2, sha1_avx2, nullptr, 0},
                     {kMaxLanes32 / 2, sha256_avx2, nullptr, 0},
                     {kMaxLanes64 / 2, sha512_avx2, nullptr, 0}};
  if (wide) {
    kernels = {{kMaxLanes32, sha1_avx512, nullptr, 0},
               {kMaxLanes32, sha256_avx512, nullptr, 0},
               {kMaxLanes64, sha512_avx512, nullptr, 0}};
  }
  if (sha) {
    kernels.sha1.one = sha1_ni;
    kernels.sha1.few = wide ? 3 : 4;
    kernels.sha256.one = sha256_ni;
    kernels.sha256.few = wide ? 4 : 7;
  }
  return kernels;
}

}  // namespace sluice::crypto
