// One line of text becomes a Row, word by word; whatever is not understood throws, so that a slip
// of the pen in a script is a failure and not a row that checks nothing.
#include "row.h"

#include <map>
#include <sstream>
#include <utility>

namespace sluice::testbed {

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

uint32_t parse_number(const std::string& text) {
  size_t used = 0;
  const unsigned long value = std::stoul(text, &used);
  if (used != text.size()) throw ScriptError("not a number: " + text);
  return static_cast<uint32_t>(value);
}

namespace {

std::pair<uint32_t, uint32_t> number_pair(const std::string& text) {
  const size_t colon = text.find(':');
  if (colon == std::string::npos) throw ScriptError("not A:B: " + text);
  return {parse_number(text.substr(0, colon)), parse_number(text.substr(colon + 1))};
}

uint8_t parse_flags(const std::string& text) {
  static const std::map<char, uint8_t> kLetters = {
      {'S', net::kSyn}, {'F', net::kFin}, {'R', net::kRst}, {'P', net::kPsh},
      {'U', net::kUrg}, {'.', net::kAck}, {'E', net::kEce}, {'W', net::kCwr}};
  uint8_t flags = 0;
  for (char letter : text) {
    if (letter == '-') continue;
    const auto found = kLetters.find(letter);
    if (found == kLetters.end()) throw ScriptError("flags: " + text);
    flags |= found->second;
  }
  return flags;
}

void parse_options(const std::string& text, Row& row) {
  row.has_options = true;
  std::istringstream stream(text);
  for (std::string item; std::getline(stream, item, ',');) {
    const std::vector<std::string> words = words_of(item);
    if (words.empty()) continue;
    if (words[0] == "mss") {
      row.options.mss = static_cast<uint16_t>(parse_number(words.at(1)));
    } else if (words[0] == "ws") {
      row.options.has_window_scale = true;
      row.options.window_scale = static_cast<uint8_t>(parse_number(words.at(1)));
    } else if (words[0] == "sackok") {
      row.options.sack_permitted = true;
    } else if (words[0] == "ts") {
      row.options.has_timestamps = true;
      if (words.size() > 1) row.timestamp = parse_number(words[1]);
    } else if (words[0] == "ecr") {
      row.echo_age_ms = parse_number(words.at(1));
    } else if (words[0] == "nots") {
      row.no_timestamps = true;
    } else if (words[0] == "sack") {
      for (size_t i = 1; i < words.size(); ++i) {
        const auto [start, end] = number_pair(words[i]);
        row.options.sack.at(row.options.sack_count++) = {start, end};
      }
    } else {
      throw ScriptError("option: " + item);
    }
  }
}

}  // namespace

Row parse_row(std::string line) {
  Row row;
  const size_t open = line.find('<', 1);
  if (open != std::string::npos) {
    const size_t close = line.find('>', open);
    if (close == std::string::npos) throw ScriptError("options without an end");
    parse_options(line.substr(open + 1, close - open - 1), row);
    line.resize(open);
  }
  const std::vector<std::string> words = words_of(line);
  if (words.size() == 2 && words[1] == "none") {
    row.none = true;
    return row;
  }
  row.flags = parse_flags(words.at(1));
  const std::string& range = words.at(2);
  const size_t bracket = range.find('(');
  if (bracket == std::string::npos || range.back() != ')') throw ScriptError("range: " + range);
  const auto [start, end] = number_pair(range.substr(0, bracket));
  row.start = start;
  std::string length = range.substr(bracket + 1, range.size() - bracket - 2);
  if (const size_t star = length.find('*'); star != std::string::npos) {
    row.count = parse_number(length.substr(0, star));
    length.erase(0, star + 1);
  }
  row.length = parse_number(length);
  if (start + row.count * row.length != end) {
    throw ScriptError("range does not add up: " + range);
  }
  for (size_t i = 3; i + 1 < words.size(); i += 2) {
    if (words[i] == "ack") {
      row.ack = parse_number(words[i + 1]);
    } else if (words[i] == "win") {
      row.window = parse_number(words[i + 1]);
    } else if (words[i] == "ip") {
      row.ip_ecn = parse_number(words[i + 1]);
    } else {
      throw ScriptError("unknown: " + words[i]);
    }
  }
  return row;
}

std::string describe(const net::Segment& segment, uint32_t length, uint32_t iss, uint32_t irs) {
  std::ostringstream out;
  for (const auto& [letter, flag] : {std::pair{'S', net::kSyn},
                                     {'F', net::kFin},
                                     {'R', net::kRst},
                                     {'P', net::kPsh},
                                     {'E', net::kEce},
                                     {'W', net::kCwr},
                                     {'.', net::kAck}}) {
    if ((segment.flags & flag) != 0) out << letter;
  }
  const uint32_t seq = segment.seq - iss;
  out << ' ' << seq << ':' << seq + length << '(' << length << ") ack " << segment.ack - irs
      << " win " << segment.window << " <";
  const net::TcpOptions& options = segment.options;
  if (options.mss != 0) out << "mss " << options.mss << ',';
  if (options.has_window_scale) out << "ws " << int{options.window_scale} << ',';
  if (options.sack_permitted) out << "sackok,";
  if (options.has_timestamps) out << "ts " << options.tsecr << ',';
  for (uint32_t i = 0; i < options.sack_count; ++i) {
    out << "sack " << options.sack[i].start - irs << ':' << options.sack[i].end - irs << ',';
  }
  out << '>';
  return out.str();
}

}  // namespace sluice::testbed
