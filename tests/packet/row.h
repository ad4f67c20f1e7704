// A segment as a line of a script says it, and the words of a line.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "net/segment.h"

namespace sluice::testbed {

struct ScriptError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A segment as a line says it; numbers relative.
struct Row {
  bool none = false;
  uint8_t flags = 0;
  uint32_t start = 0;
  uint32_t length = 0;
  uint32_t count = 1;  // so many segments in a row
  std::optional<uint32_t> ack;
  std::optional<uint32_t> window;
  std::optional<uint32_t> ip_ecn;
  bool has_options = false;
  net::TcpOptions options;
  bool no_timestamps = false;
  std::optional<uint32_t> timestamp;
  std::optional<uint32_t> echo_age_ms;
};

std::vector<std::string> words_of(const std::string& line);
uint32_t parse_number(const std::string& text);
// "< FLAGS A:B(N) ..." or "> ..."; throws ScriptError.
Row parse_row(std::string line);
// As a script would say it.
std::string describe(const net::Segment& segment, uint32_t length, uint32_t iss, uint32_t irs);

}  // namespace sluice::testbed
