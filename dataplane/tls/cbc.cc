// CBC records between flows and the multi-buffer functions of crypto/cbc_hmac.
//
//   TLS 1.1, 1.2   header | IV | ciphertext of {content, MAC, padding}        (RFC 5246 6.2.3.2)
//   TLS 1.0        header | ciphertext, whose IV is the last ciphertext block (RFC 2246 6.2.3.2)
//   RFC 7366       as above, but the MAC stands in clear behind the ciphertext
//
// The library works in place on contiguous fragments, so the linearising copy is the one touch
// that CBC costs more than an AEAD. Sealed IVs are random, one draw each, when the batch runs:
// nobody who chooses plaintext has seen one before (RFC 4346 6.2.3.2).
//
// TLS 1.0's chained IV is known to who watches the wire. Application data is therefore cut behind
// its first byte, so that the second record's IV depends on a MAC that cannot be foreseen (1/n-1
// splitting, against BEAST). All heads of a batch are sealed first, then all bodies.
//
// Whatever is wrong with a record, the answer is bad_record_mac: opening takes one path.
#include "tls/cbc.h"

#include <algorithm>

#include "abi/assert.h"
#include "crypto/cbc_hmac.h"
#include "crypto/secret.h"
#include "tls/limits.h"
#include "tls/pieces.h"

namespace sluice::tls {

namespace {

using abi::CloseReason;
using abi::Counter;

constexpr uint32_t kHeadBytes = 1;

uint32_t fragment_bytes(const FlowKeys& keys, uint32_t plaintext_length) {
  return crypto::cbc_sealed_length(keys.suite->mac_hash, keys.version, keys.encrypt_then_mac,
                                   plaintext_length);
}

uint32_t record_bytes(const FlowKeys& keys, uint32_t plaintext_length) {
  return abi::kRecordHeaderBytes + fragment_bytes(keys, plaintext_length);
}

uint32_t head_bytes(const FlowKeys& keys, ContentType type, uint32_t plaintext_length) {
  const bool split = keys.version == TlsVersion::Tls10 && type == ContentType::application_data &&
                     plaintext_length > kHeadBytes;
  return split ? kHeadBytes : 0;
}

// Writes one record's header and copies its plaintext to its place.
void lay_out(const FlowKeys& keys, ContentType type, std::span<const ConstPiece> plaintext,
             uint32_t offset, uint32_t length, uint8_t* record) {
  write_header(record, type, static_cast<uint16_t>(keys.version), fragment_bytes(keys, length));
  copy_bytes(plaintext, offset, length,
             record + abi::kRecordHeaderBytes + crypto::cbc_plaintext_offset(keys.version));
}

enum class Part : uint8_t { Head, Body };

void fill(RecordLayer& layer, const CbcSeal& seal, Part part, const crypto::CbcHmacKey& key,
          crypto::CbcSealJob& job) {
  FlowKeys& keys = *seal.keys;
  uint8_t* record = seal.out;
  job.record.sequence = seal.sequence;
  job.plaintext_length = seal.head_length;
  if (part == Part::Body) {
    if (seal.head_length != 0) {
      record += record_bytes(keys, seal.head_length);
      ++job.record.sequence;
    }
    job.plaintext_length = seal.body_length;
  }
  job.record.key = &key;
  job.record.type = static_cast<uint8_t>(seal.type);
  job.record.version = keys.version;
  job.record.encrypt_then_mac = keys.encrypt_then_mac;
  job.record.fragment = record + abi::kRecordHeaderBytes;
  if (keys.version == TlsVersion::Tls10) {
    std::copy_n(keys.seal.chaining_block().begin(), crypto::kCbcBlockLength, job.record.iv);
  } else {
    layer.random.fill(job.record.iv);
  }
}

const crypto::CbcHmacKey* key_of(RecordLayer& layer, const CbcSeal& job) {
  return pinned_key(layer, *job.keys, Direction::Seal);
}
const crypto::CbcHmacKey* key_of(RecordLayer& layer, const CbcOpen& job) {
  return pinned_key(layer, *job.keys, Direction::Open);
}

// Cuts `items` into batches whose keys fit the cache at once: `make(item, key, n)` makes job n,
// `run(count)` runs the first `count` jobs.
template <class Item, class Wanted, class Make, class Run>
void in_batches(RecordLayer& layer, std::span<Item> items, Wanted&& wanted, Make&& make,
                Run&& run) {
  uint32_t count = 0;
  const auto flush = [&] {
    if (count == 0) return;
    run(count);
    layer.counters.add(Counter::tls_cbc_batches);
    layer.counters.add(Counter::tls_cbc_jobs, count);
    layer.key_cache.unpin_all();
    count = 0;
  };
  for (Item& item : items) {
    if (!wanted(item)) continue;
    const crypto::CbcHmacKey* key = key_of(layer, item);
    if (key == nullptr) {
      flush();
      key = key_of(layer, item);
    }
    SLUICE_ASSERT(key != nullptr);
    make(item, *key, count);
    if (++count == kCbcBatchRecords) flush();
  }
  flush();
}

void seal_parts(RecordLayer& layer, std::span<CbcSeal> seals, Part part) {
  crypto::CbcSealJob jobs[kCbcBatchRecords];
  FlowKeys* keys[kCbcBatchRecords];
  in_batches(
      layer, seals,
      [part](const CbcSeal& seal) {
        return seal.keys != nullptr && (part == Part::Body || seal.head_length != 0);
      },
      [&](const CbcSeal& seal, const crypto::CbcHmacKey& key, uint32_t n) {
        fill(layer, seal, part, key, jobs[n]);
        keys[n] = seal.keys;
      },
      [&](uint32_t count) {
        crypto::seal_batch(layer.provider, {jobs, count});
        for (uint32_t i = 0; i < count; ++i) {
          if (keys[i]->version != TlsVersion::Tls10) continue;
          std::copy_n(jobs[i].record.iv, crypto::kCbcBlockLength,
                      keys[i]->seal.chaining_block().begin());
        }
      });
}

void take_answer(RecordLayer& layer, const crypto::CbcOpenJob& job, CbcOpen& open) {
  if (!job.ok) {
    open.result.refusal = {CloseReason::bad_record_mac, Alert::bad_record_mac};
    return;
  }
  if (job.plaintext_length > open.keys->open.fragment_limit_bytes()) {  // RFC 6066 4, 8449 4
    crypto::secure_zero(open.fragment, open.fragment_length);
    open.result.refusal = {CloseReason::record_overflow, Alert::record_overflow};
    return;
  }
  open.plaintext = open.fragment + job.plaintext_offset;
  open.result = {Verdict::Accept, {}, open.type, job.plaintext_length};
  layer.counters.add(Counter::tls_records_opened);
  if (open.type == ContentType::application_data) {
    layer.counters.add(Counter::tls_bytes_opened, job.plaintext_length);
  }
}

}  // namespace

uint32_t cbc_sealed_size(const FlowKeys& keys, ContentType type, uint32_t plaintext_length) {
  const uint32_t head = head_bytes(keys, type, plaintext_length);
  return (head == 0 ? 0 : record_bytes(keys, head)) + record_bytes(keys, plaintext_length - head);
}

uint32_t cbc_plaintext_within(const FlowKeys& keys, uint32_t bytes) {
  // A head counts whenever there may be one: only a record of one byte has none.
  const uint32_t head =
      keys.version == TlsVersion::Tls10 ? record_bytes(keys, kHeadBytes) : 0;
  const uint32_t mac = keys.suite->mac_key_length;
  const uint32_t fixed = head + abi::kRecordHeaderBytes +
                         crypto::cbc_plaintext_offset(keys.version) +
                         (keys.encrypt_then_mac ? mac : 0);
  const uint32_t inside = 1 + (keys.encrypt_then_mac ? 0 : mac);  // one byte of padding at least
  const uint32_t blocks =
      bytes <= fixed ? 0 : (bytes - fixed) / crypto::kCbcBlockLength * crypto::kCbcBlockLength;
  if (blocks <= inside) return 0;
  return blocks - inside + (head == 0 ? 0 : kHeadBytes);
}

void prepare_seal(FlowKeys& keys, ContentType type, std::span<const ConstPiece> plaintext,
                  uint8_t* out, CbcSeal& job) {
  const auto length = static_cast<uint32_t>(total_bytes(plaintext));
  const uint32_t head = head_bytes(keys, type, length);
  job.keys = &keys;
  job.out = out;
  job.type = type;
  job.head_length = static_cast<uint8_t>(head);
  job.body_length = length - head;
  job.sequence = keys.seal.take_sequence();
  if (head != 0) {
    static_cast<void>(keys.seal.take_sequence());
    lay_out(keys, type, plaintext, 0, head, out);
    out += record_bytes(keys, head);
  }
  lay_out(keys, type, plaintext, head, job.body_length, out);
}

void seal_batch(RecordLayer& layer, std::span<CbcSeal> jobs) {
  seal_parts(layer, jobs, Part::Head);
  seal_parts(layer, jobs, Part::Body);
  for (const CbcSeal& job : jobs) {
    if (job.keys == nullptr) continue;
    layer.counters.add(Counter::tls_records_sealed, job.head_length == 0 ? 1 : 2);
    if (job.type != ContentType::application_data) continue;
    layer.counters.add(Counter::tls_bytes_sealed, job.head_length + job.body_length);
  }
}

void prepare_open(FlowKeys& keys, std::span<const ConstPiece> record, uint8_t* out, CbcOpen& job) {
  uint8_t header[abi::kRecordHeaderBytes];
  copy_bytes(record, 0, sizeof header, header);
  job = CbcOpen{};
  job.fragment = out;
  job.fragment_length = parse_header(header).length;
  job.type = static_cast<ContentType>(header[0]);
  if (keys.open.sequence() >= kMaxOpenedRecords) {
    job.result.refusal = {CloseReason::sequence_exhausted, Alert::internal_error};
    return;
  }
  job.keys = &keys;
  job.sequence = keys.open.take_sequence();
  copy_bytes(record, sizeof header, job.fragment_length, out);
  if (keys.version != TlsVersion::Tls10) return;
  // The next record's IV stands in this one and is gone once that is decrypted.
  const auto chaining_block = keys.open.chaining_block();
  std::copy_n(chaining_block.begin(), chaining_block.size(), job.iv);
  const uint32_t mac = keys.encrypt_then_mac ? keys.suite->mac_key_length : 0;
  if (job.fragment_length < mac + chaining_block.size()) return;  // refused by its length
  std::copy_n(out + job.fragment_length - mac - chaining_block.size(), chaining_block.size(),
              chaining_block.begin());
}

void open_batch(RecordLayer& layer, std::span<CbcOpen> opens) {
  crypto::CbcOpenJob jobs[kCbcBatchRecords];
  CbcOpen* asked[kCbcBatchRecords];
  in_batches(
      layer, opens, [](const CbcOpen& open) { return open.keys != nullptr; },
      [&](CbcOpen& open, const crypto::CbcHmacKey& key, uint32_t n) {
        crypto::CbcRecord& record = jobs[n].record;
        record.key = &key;
        record.sequence = open.sequence;
        record.type = static_cast<uint8_t>(open.type);
        record.version = open.keys->version;
        record.encrypt_then_mac = open.keys->encrypt_then_mac;
        record.fragment = open.fragment;
        std::copy_n(open.iv, sizeof open.iv, record.iv);
        jobs[n].fragment_length = open.fragment_length;
        asked[n] = &open;
      },
      [&](uint32_t count) {
        crypto::open_batch(layer.provider, {jobs, count});
        for (uint32_t i = 0; i < count; ++i) take_answer(layer, jobs[i], *asked[i]);
      });
}

}  // namespace sluice::tls
