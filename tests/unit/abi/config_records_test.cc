// The table [records]: defaults, values, and errors with their place.
#include <gtest/gtest.h>

#include <algorithm>

#include "config_support.h"

namespace sluice::abi::config::test {
namespace {

// The sample with this table at its end.
std::string with_records(const std::string& lines) {
  return std::string(kSampleConfig) + "\n[records]\n" + lines + "\n";
}

std::string at_line(uint32_t line, const std::string& rest) {
  const std::string sample = std::string(kSampleConfig) + "\n";
  const auto lines = static_cast<uint32_t>(std::count(sample.begin(), sample.end(), '\n'));
  return "s.toml:" + std::to_string(lines + 1 + line) + rest;
}

RecordsConfig records_of(const std::string& text) {
  const auto document = Document::parse(text, "s.toml");
  if (!document) return {};
  const auto config = read_dataplane_config(*document);
  EXPECT_TRUE(config) << config.error().to_string();
  return config ? config->records : RecordsConfig{};
}

TEST(RecordsConfig, MayBeLeftOut) {
  for (const std::string& text : {std::string(kSampleConfig), with_records("")}) {
    const RecordsConfig records = records_of(text);
    EXPECT_EQ(records.padding, RecordPadding::None);
    EXPECT_EQ(records.key_update_after_records, 1U << 24);
    EXPECT_TRUE(records.dynamic_size);
    EXPECT_EQ(records.full_size_after_bytes, 65536U);
    EXPECT_EQ(records.small_size_after_idle_ms, 1000U);
  }
}

TEST(RecordsConfig, TakesValues) {
  const RecordsConfig block = records_of(with_records(
      "padding = \"block\"\npadding_block_bytes = 1024\nkey_update_after_records = 1\n"
      "full_size_after_bytes = 1000\nsmall_size_after_idle_ms = 5"));
  EXPECT_EQ(block.padding, RecordPadding::Block);
  EXPECT_EQ(block.padding_block_bytes, 1024U);
  EXPECT_EQ(block.key_update_after_records, 1U);
  EXPECT_EQ(block.full_size_after_bytes, 1000U);
  EXPECT_EQ(block.small_size_after_idle_ms, 5U);
  const RecordsConfig random = records_of(
      with_records("padding = \"random\"\npadding_random_bytes = 16384\ndynamic_size = false"));
  EXPECT_EQ(random.padding, RecordPadding::Random);
  EXPECT_EQ(random.padding_random_bytes, 16384U);
  EXPECT_FALSE(random.dynamic_size);
}

TEST(RecordsConfig, RefusesWithItsPlace) {
  const struct {
    std::string lines;
    uint32_t line;
    std::string error;
  } rows[] = {
      {"padding = \"blocks\"", 1, ":11: 'padding' is 'blocks'; write 'block'"},
      {"padding = true", 1, ":11: 'padding' is a boolean; write one of: none, block, random"},
      {"paddng = \"none\"", 1, ":1: unknown key 'paddng', did you mean 'padding'?"},
      {"padding = \"block\"\npadding_block_bytes = 1", 2,
       ":23: 'padding_block_bytes' is 1; write an integer from 2 to 16384"},
      {"padding = \"block\"\npadding_block_bytes = 16385", 2,
       ":23: 'padding_block_bytes' is 16385; write an integer from 2 to 16384"},
      {"padding = \"random\"\npadding_random_bytes = 0", 2,
       ":24: 'padding_random_bytes' is 0; write an integer from 1 to 16384"},
      {"padding_block_bytes = 512", 1,
       ":23: 'padding_block_bytes' is for padding = \"block\"; set that, or remove it"},
      {"padding = \"block\"\npadding_random_bytes = 9", 2,
       ":24: 'padding_random_bytes' is for padding = \"random\"; set that, or remove it"},
      {"key_update_after_records = 0", 1,
       ":28: 'key_update_after_records' is 0; write an integer from 1 to 16777216"},
      {"key_update_after_records = 16777217", 1,
       ":28: 'key_update_after_records' is 16777217; write an integer from 1 to 16777216"},
      {"dynamic_size = false\nfull_size_after_bytes = 9", 2,
       ":25: 'full_size_after_bytes' is for dynamic_size = true; set that, or remove it"},
      {"dynamic_size = 1", 1, ":16: 'dynamic_size' is an integer; write true or false"},
      {"small_size_after_idle_ms = -1", 1,
       ":28: 'small_size_after_idle_ms' is -1; write an integer from 1 to 86400000"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(error_of(with_records(row.lines)), at_line(row.line, row.error)) << row.lines;
  }
  EXPECT_NE(error_of("records = 1\n" + std::string(kSampleConfig)), "");
}

}  // namespace
}  // namespace sluice::abi::config::test
