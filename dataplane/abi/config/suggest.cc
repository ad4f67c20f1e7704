// Help for error messages: quoting text of the file, and finding what a misspelt word meant.
#include <algorithm>
#include <array>

#include "abi/config/strict_table.h"

namespace sluice::abi::config {
namespace {

constexpr size_t kQuotedBytes = 80;  // longer text is cut: an error is one readable line
constexpr size_t kLongestWord = 64;  // longer words are not compared

// Optimal string alignment distance: insertions, deletions, substitutions and transpositions of
// neighbours, each at cost 1. Both lengths assumed in [0, kLongestWord].
size_t edit_distance(std::string_view a, std::string_view b) {
  using Row = std::array<size_t, kLongestWord + 1>;
  Row before_last{};
  Row last{};
  Row row{};
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitution = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, substitution});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
    before_last = last;
    last = row;
  }
  return last[b.size()];
}

}  // namespace

std::string quote(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string quoted = "'";
  for (const char character : text.substr(0, kQuotedBytes)) {
    const auto byte = static_cast<uint8_t>(character);
    if (byte >= 0x20 && byte < 0x7f) {
      quoted += character;
    } else {
      quoted += "\\x";
      quoted += kHex[byte >> 4];
      quoted += kHex[byte & 15];
    }
  }
  if (text.size() > kQuotedBytes) quoted += "...";
  return quoted + "'";
}

std::optional<std::string_view> suggest(std::string_view text,
                                        std::span<const std::string_view> candidates) {
  if (text.empty() || text.size() > kLongestWord) return std::nullopt;
  std::optional<std::string_view> best;
  size_t best_distance = 0;
  for (const std::string_view candidate : candidates) {
    if (candidate.size() > kLongestWord) continue;
    const size_t distance = edit_distance(text, candidate);
    // A third of the word may be wrong; of short words one letter.
    if (distance > std::max<size_t>(1, std::min(text.size(), candidate.size()) / 3)) continue;
    if (!best || distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace sluice::abi::config
