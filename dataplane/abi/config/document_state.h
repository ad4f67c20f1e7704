// What a Document remembers while it is read. Private to document.cc and strict_table.cc, the only
// files that know toml++.
#pragma once

#include <toml++/toml.h>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "abi/config/strict_table.h"

namespace sluice::abi::config {

// What was asked of one table. An unknown key and a missing one in the same table are most likely
// one misspelling: then the unknown key alone is reported.
struct TableVisit {
  std::string label;  // "[tls]", "[[port]]", "the top level"
  std::set<std::string, std::less<>> known;
  std::vector<std::string> missing;
};

struct DocumentState {
  std::string file;
  std::filesystem::path directory;
  toml::table root;
  std::map<const void*, TableVisit> visits;
  std::vector<Error> errors;  // wrong values, in the order of reading

  Error error_at(const toml::source_position& where, std::string message) const;
  void fail(const toml::node& node, std::string message);
  // The value of `key`, which is a known key from now on; null when it is not there.
  const toml::node* find(const void* table, std::string_view key, bool required);
  Table enter(const toml::node& table, std::string label);

  // Nothing, and an error noted, when the node is something else.
  std::optional<std::string> string_of(const toml::node& node, std::string_view key);
  std::optional<int64_t> integer_of(const toml::node& node, std::string_view key, int64_t minimum,
                                    int64_t maximum);
  std::vector<const toml::node*> elements_of(const toml::node& node, std::string_view key,
                                             size_t least, size_t most, const std::string& wanted);

  std::optional<Error> first_unknown(const void* table, const TableVisit& visit) const;
  std::optional<Error> first_missing(const void* table, const TableVisit& visit) const;
};

inline const toml::table& as_table(const void* table) {
  return *static_cast<const toml::table*>(table);
}
const char* type_name(toml::node_type type);
std::string name_list(const std::vector<std::string_view>& names);

}  // namespace sluice::abi::config
