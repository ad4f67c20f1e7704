// Whoever seals or opens records in build/bench/record: Sluice's record layer, Sluice's cipher
// alone, ipsec-mb called directly, OpenSSL. All work on `flows` flows in turn, each with a key and
// buffers of its own, on records of `bytes` bytes of plaintext.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "crypto/suite.h"

namespace sluice::bench {

inline constexpr uint32_t kSegmentBytes = 1448;

struct Task {
  const crypto::Suite* suite = nullptr;
  bool open = false;
  uint32_t flows = 1;
  uint32_t bytes = 0;
};

class Contender {
 public:
  virtual ~Contender() = default;
  // Makes ready what the next `records` records need; not measured.
  virtual void prepare(uint32_t records) { (void)records; }
  // Seals or opens so many records.
  virtual void run(uint32_t records) = 0;
  // Whether all that was opened was right; for sealing, whether it could be opened.
  virtual bool correct() = 0;
};

// Bytes in one piece, or in pieces as segments bring them.
enum class Cut : uint8_t { Whole, Segments };

// contenders_record.cc: tls::seal_record and tls::open_record.
std::unique_ptr<Contender> make_record_layer(const Task& task, Cut cut);
// contenders_aead.cc: crypto::seal and crypto::open; ipsec-mb; EVP.
std::unique_ptr<Contender> make_cipher(const Task& task, Cut cut);
std::unique_ptr<Contender> make_direct_gcm(const Task& task);
std::unique_ptr<Contender> make_evp_aead(const Task& task);
// contenders_cbc.cc: crypto's batches; EVP.
std::unique_ptr<Contender> make_cbc(const Task& task);
std::unique_ptr<Contender> make_evp_cbc(const Task& task);

// Plaintext that tells its position.
std::vector<uint8_t> make_plaintext(uint32_t bytes);
// Key number `flow` of a suite.
std::vector<uint8_t> make_key(uint32_t length, uint32_t flow);

}  // namespace sluice::bench
