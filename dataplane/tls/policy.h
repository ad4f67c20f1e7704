// What an operator may choose about records. Defaults are those of the configuration file.
#pragma once

#include <cstdint>

#include "tls/limits.h"

namespace sluice::tls {

// How application data is padded in TLS 1.3 (RFC 8446 5.4); older versions cannot.
enum class Padding : uint8_t {
  None,
  Block,   // content, type and zeros fill whole blocks
  Random,  // 0..padding_random_bytes zeros, drawn for each record
};

struct RecordPolicy {
  Padding padding = Padding::None;
  uint32_t padding_block_bytes = 512;   // 2..16384
  uint32_t padding_random_bytes = 255;  // at most kMaxPlaintextBytes
  // TLS 1.3: records under one key before a KeyUpdate, 1..kKeyUpdateAfterRecords.
  uint64_t key_update_after_records = kKeyUpdateAfterRecords;
};

}  // namespace sluice::tls
