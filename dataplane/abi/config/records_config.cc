// Reading [records]. A key that the chosen padding does not use is refused: whoever wrote it meant
// something else.
#include "abi/config/records_config.h"

#include <string>

#include "abi/limits.h"

namespace sluice::abi::config {
namespace {

constexpr Choice<RecordPadding> kPaddings[] = {{"none", RecordPadding::None},
                                               {"block", RecordPadding::Block},
                                               {"random", RecordPadding::Random}};

uint32_t number(const Table& table, std::string_view key, uint32_t fallback, uint32_t least,
                uint32_t most) {
  return static_cast<uint32_t>(table.optional_integer(key, fallback, least, most));
}

void refuse_unless(const Table& table, std::string_view key, bool used, std::string_view setting) {
  if (used || !table.has(key)) return;
  table.fail(key, quote(key) + " is for " + std::string(setting) + "; set that, or remove it");
}

}  // namespace

RecordsConfig read_records(const Table& table) {
  RecordsConfig records;
  if (!table.exists()) return records;
  records.padding = table.optional_enum("padding", kPaddings, records.padding);
  records.padding_block_bytes = number(table, "padding_block_bytes", records.padding_block_bytes,
                                       kMinPaddingBlockBytes, kMaxPlaintextBytes);
  records.padding_random_bytes = number(table, "padding_random_bytes", records.padding_random_bytes,
                                        1, kMaxPlaintextBytes);
  records.key_update_after_records =
      number(table, "key_update_after_records", records.key_update_after_records, 1,
             kMaxKeyUpdateAfterRecords);
  records.dynamic_size = table.optional_boolean("dynamic_size", records.dynamic_size);
  records.full_size_after_bytes =
      number(table, "full_size_after_bytes", records.full_size_after_bytes, 1, kMaxRampBytes);
  records.small_size_after_idle_ms =
      number(table, "small_size_after_idle_ms", records.small_size_after_idle_ms, 1,
             kMaxIdleTimeoutMs);
  refuse_unless(table, "padding_block_bytes", records.padding == RecordPadding::Block,
                "padding = \"block\"");
  refuse_unless(table, "padding_random_bytes", records.padding == RecordPadding::Random,
                "padding = \"random\"");
  for (const char* key : {"full_size_after_bytes", "small_size_after_idle_ms"}) {
    refuse_unless(table, key, records.dynamic_size, "dynamic_size = true");
  }
  return records;
}

}  // namespace sluice::abi::config
