// Reading tests/vectors: blocks of "Name = value" lines, blank lines between, '#' comments.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sluice::crypto::test {

using ByteVector = std::vector<uint8_t>;

// Throws on anything that is not hexadecimal digits in pairs.
ByteVector from_hex(const std::string& hex);
std::string to_hex(const uint8_t* data, size_t length);

class Vector {
 public:
  explicit Vector(std::map<std::string, std::string> fields) : fields_(std::move(fields)) {}
  // Throws when the block has no such line.
  const std::string& text(const std::string& field) const { return fields_.at(field); }
  ByteVector bytes(const std::string& field) const { return from_hex(text(field)); }
  const std::string& name() const { return text("Name"); }

 private:
  std::map<std::string, std::string> fields_;
};

// Throws when the file (a path below tests/vectors) is missing or has a line of another form.
std::vector<Vector> read_vectors(const std::string& file);

}  // namespace sluice::crypto::test
