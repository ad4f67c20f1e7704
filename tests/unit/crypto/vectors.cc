// The vector files' reader. Errors throw: a test that lost its vectors must fail, not pass empty.
#include "vectors.h"

#include <fstream>
#include <stdexcept>

namespace sluice::crypto::test {
namespace {

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

}  // namespace

ByteVector from_hex(const std::string& hex) {
  if (hex.size() % 2 != 0) throw std::runtime_error("odd number of digits: " + hex);
  ByteVector bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    size_t used = 0;
    const unsigned long value = std::stoul(hex.substr(i, 2), &used, 16);
    if (used != 2) throw std::runtime_error("not hexadecimal: " + hex);
    bytes.push_back(static_cast<uint8_t>(value));
  }
  return bytes;
}

std::string to_hex(const uint8_t* data, size_t length) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (size_t i = 0; i < length; ++i) {
    hex += kDigits[data[i] >> 4];
    hex += kDigits[data[i] & 15];
  }
  return hex;
}

std::vector<Vector> read_vectors(const std::string& file) {
  std::ifstream stream(std::string(SLUICE_VECTORS_DIR) + "/" + file);
  if (!stream) throw std::runtime_error("cannot open " + file);
  std::vector<Vector> vectors;
  std::map<std::string, std::string> fields;
  const auto finish_block = [&] {
    if (!fields.empty()) vectors.emplace_back(std::move(fields));
    fields.clear();
  };
  std::string line;
  while (std::getline(stream, line)) {
    if (trimmed(line).empty()) {
      finish_block();
    } else if (line[0] != '#') {
      const size_t equals = line.find('=');
      if (equals == std::string::npos) throw std::runtime_error("not Name = value: " + line);
      fields[trimmed(line.substr(0, equals))] = trimmed(line.substr(equals + 1));
    }
  }
  finish_block();
  if (vectors.empty()) throw std::runtime_error(file + " is empty");
  return vectors;
}

}  // namespace sluice::crypto::test
