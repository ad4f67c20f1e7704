// Records of the CBC suites, TLS 1.0 to 1.2, in batches over many flows: prepare each, run the
// batch, look at each. The records of one flow stay in their order.
//
//   prepare_seal(...) per record  ->  seal_batch(all)  ->  sealed bytes stand at `out`
//   prepare_open(...) per record  ->  open_batch(all)  ->  `result`, plaintext at `plaintext`
//
// Between prepare and batch the keys stay installed, or the job is dropped by `keys = nullptr`.
#pragma once

#include <cstdint>
#include <span>

#include "tls/keys.h"
#include "tls/open.h"
#include "tls/record.h"

namespace sluice::tls {

// Records that one call into the library takes. Sixteen lanes of SHA-1 or SHA-256 at most, twice.
inline constexpr uint32_t kCbcBatchRecords = 32;

struct CbcSeal {
  FlowKeys* keys = nullptr;
  uint8_t* out = nullptr;
  uint64_t sequence = 0;  // of the first record
  ContentType type = ContentType::application_data;
  // TLS 1.0: plaintext bytes that are a record of their own in front; 0 or 1.
  uint8_t head_length = 0;
  uint32_t body_length = 0;  // plaintext of the last, or only, record
};

struct CbcOpen {
  FlowKeys* keys = nullptr;
  uint8_t* fragment = nullptr;
  uint64_t sequence = 0;
  uint32_t fragment_length = 0;
  ContentType type = ContentType::application_data;
  uint8_t iv[crypto::kCbcBlockLength] = {};  // TLS 1.0
  OpenResult result;
  uint8_t* plaintext = nullptr;  // on Accept; result.length bytes
};

// Bytes that sealing this plaintext makes: one record, or two.
uint32_t cbc_sealed_size(const FlowKeys& keys, ContentType type, uint32_t plaintext_length);

// The longest application data whose sealed size is at most `bytes`, 0 when there is none.
uint32_t cbc_plaintext_within(const FlowKeys& keys, uint32_t bytes);

// Takes sequence numbers and copies the plaintext to where it will be sealed; `out` has
// cbc_sealed_size of room. The caller has looked at the key's limit. In TLS 1.0 a flow may have one
// prepared record at a time, because the next one's IV is the last one's end.
void prepare_seal(FlowKeys& keys, ContentType type, std::span<const ConstPiece> plaintext,
                  uint8_t* out, CbcSeal& job);
void seal_batch(RecordLayer& layer, std::span<CbcSeal> jobs);

// Takes the sequence number and copies the record's fragment to `out`, which has room for
// open_output_bytes and where it is decrypted in place. The record is as for open_record.
void prepare_open(FlowKeys& keys, std::span<const ConstPiece> record, uint8_t* out, CbcOpen& job);
void open_batch(RecordLayer& layer, std::span<CbcOpen> jobs);

}  // namespace sluice::tls
