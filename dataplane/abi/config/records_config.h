// The table [records]: what an operator may choose about TLS records. All of it is optional.
#pragma once

#include <cstdint>

#include "abi/config/strict_table.h"

namespace sluice::abi::config {

enum class RecordPadding : uint8_t { None, Block, Random };

struct RecordsConfig {
  // Of application data in TLS 1.3; older versions cannot.
  RecordPadding padding = RecordPadding::None;
  uint32_t padding_block_bytes = 512;   // with Block
  uint32_t padding_random_bytes = 255;  // at most, with Random
  // Records under one key of TLS 1.3 before a KeyUpdate.
  uint32_t key_update_after_records = 1U << 24;
  // Records of one segment at the start and after so long without one, until so many bytes have
  // gone; then full ones.
  bool dynamic_size = true;
  uint32_t full_size_after_bytes = 64 * 1024;
  uint32_t small_size_after_idle_ms = 1000;
};

// `table` may be absent. Errors are the document's.
RecordsConfig read_records(const Table& table);

}  // namespace sluice::abi::config
