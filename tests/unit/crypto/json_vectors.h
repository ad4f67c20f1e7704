// Reading tests/vectors/wycheproof: JSON files as the project publishes them.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "vectors.h"

namespace sluice::crypto::test {

// The file's test groups. Throws when it is missing, is no JSON or has another number of tests than
// it says.
inline nlohmann::json wycheproof_groups(const std::string& file) {
  std::ifstream stream(std::string(SLUICE_VECTORS_DIR) + "/wycheproof/" + file);
  if (!stream) throw std::runtime_error("cannot open " + file);
  const nlohmann::json parsed = nlohmann::json::parse(stream);
  size_t tests = 0;
  for (const auto& group : parsed.at("testGroups")) tests += group.at("tests").size();
  if (tests != parsed.at("numberOfTests").get<size_t>()) {
    throw std::runtime_error(file + " has not all of its tests");
  }
  return parsed.at("testGroups");
}

inline ByteVector bytes_of(const nlohmann::json& test, const char* field) {
  return from_hex(test.at(field).get<std::string>());
}

// "acceptable" rows are those with short nonces; none of them can be said to this API.
inline bool is_valid(const nlohmann::json& test) {
  const auto result = test.at("result").get<std::string>();
  if (result != "valid" && result != "invalid") throw std::runtime_error("result: " + result);
  return result == "valid";
}

inline std::string row_name(const std::string& file, const nlohmann::json& test) {
  return file + " tcId " + std::to_string(test.at("tcId").get<int>()) + " " +
         test.at("comment").get<std::string>();
}

}  // namespace sluice::crypto::test
