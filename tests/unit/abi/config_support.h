// What the tests of the configuration share: one thing in the sample is changed, and the error line
// is looked at.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "abi/config/dataplane_config.h"
#include "sample_config.h"

namespace sluice::abi::config::test {

inline std::string replaced(const std::string& from, const std::string& to) {
  std::string text = kSampleConfig;
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

// The error line, or "" for a good file.
inline std::string error_of(const std::string& text) {
  const auto document = Document::parse(text, "s.toml");
  if (!document) return document.error().to_string();
  const auto config = read_dataplane_config(*document);
  return config ? "" : config.error().to_string();
}

struct Row {
  std::string from;
  std::string to;
  std::string expected;
};

inline void expect_rows(std::initializer_list<Row> rows) {
  for (const Row& row : rows) {
    EXPECT_EQ(error_of(replaced(row.from, row.to)), row.expected) << row.from << " -> " << row.to;
  }
}

}  // namespace sluice::abi::config::test
