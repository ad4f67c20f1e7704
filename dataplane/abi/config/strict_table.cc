// The readers of strict_table.h. Each marks its key as known, and answers with a default when the
// value is absent or was refused: the caller reads on, and `Document::check` has the last word.
#include <algorithm>

#include "abi/config/document_state.h"

namespace sluice::abi::config {
namespace {

std::vector<std::string> read_strings(DocumentState& state, const toml::node* node,
                                      std::string_view key, size_t least, size_t most) {
  std::vector<std::string> strings;
  if (node == nullptr) return strings;
  for (const toml::node* element : state.elements_of(*node, key, least, most, "[\"...\"]")) {
    strings.push_back(state.string_of(*element, key).value_or(""));
  }
  return strings;
}

struct Range {
  int64_t minimum;
  int64_t maximum;
};

std::vector<int64_t> read_integers(DocumentState& state, const toml::node* node,
                                   std::string_view key, Range range, size_t least, size_t most) {
  std::vector<int64_t> integers;
  if (node == nullptr) return integers;
  const std::string wanted = "an array of integers, as in [" + std::to_string(range.minimum) + "]";
  for (const toml::node* element : state.elements_of(*node, key, least, most, wanted)) {
    const auto value = state.integer_of(*element, key, range.minimum, range.maximum);
    integers.push_back(value.value_or(range.minimum));
  }
  return integers;
}

std::string header(std::string_view key, bool array) {
  return array ? "[[" + std::string(key) + "]]" : "[" + std::string(key) + "]";
}

std::vector<Table> read_tables(DocumentState& state, const toml::node* node, std::string_view key,
                               size_t least, size_t most) {
  std::vector<Table> tables;
  if (node == nullptr) return tables;
  const std::string wanted = "it as " + header(key, true);
  for (const toml::node* element : state.elements_of(*node, key, least, most, wanted)) {
    if (element->is_table()) {
      tables.push_back(state.enter(*element, header(key, true)));
    } else {
      state.fail(*element, quote(key) + " holds " + type_name(element->type()) +
                               "; every element is a table, " + header(key, true));
    }
  }
  return tables;
}

}  // namespace

bool Table::has(std::string_view key) const {
  return table_ != nullptr && as_table(table_).contains(key);
}

std::vector<std::string> Table::keys() const {
  std::vector<const toml::key*> found;
  if (table_ != nullptr) {
    for (auto entry = as_table(table_).begin(); entry != as_table(table_).end(); ++entry) {
      found.push_back(&entry->first);
    }
  }
  std::sort(found.begin(), found.end(), [](const toml::key* a, const toml::key* b) {
    const auto at = [](const toml::key* key) {
      return std::pair(key->source().begin.line, key->source().begin.column);
    };
    return at(a) < at(b);
  });
  std::vector<std::string> names;
  for (const toml::key* key : found) names.emplace_back(key->str());
  return names;
}

std::string Table::required_string(std::string_view key) const {
  const toml::node* const node = state_->find(table_, key, true);
  return node == nullptr ? std::string() : state_->string_of(*node, key).value_or("");
}

std::string Table::optional_string(std::string_view key, std::string_view fallback) const {
  const toml::node* const node = state_->find(table_, key, false);
  if (node == nullptr) return std::string(fallback);
  return state_->string_of(*node, key).value_or(std::string(fallback));
}

int64_t Table::required_integer(std::string_view key, int64_t minimum, int64_t maximum) const {
  const toml::node* const node = state_->find(table_, key, true);
  if (node == nullptr) return minimum;
  return state_->integer_of(*node, key, minimum, maximum).value_or(minimum);
}

int64_t Table::optional_integer(std::string_view key, int64_t fallback, int64_t minimum,
                                int64_t maximum) const {
  const toml::node* const node = state_->find(table_, key, false);
  if (node == nullptr) return fallback;
  return state_->integer_of(*node, key, minimum, maximum).value_or(fallback);
}

bool Table::required_boolean(std::string_view key) const {
  state_->find(table_, key, true);
  return optional_boolean(key, false);
}

bool Table::optional_boolean(std::string_view key, bool fallback) const {
  const toml::node* const node = state_->find(table_, key, false);
  if (node == nullptr) return fallback;
  if (const auto* const value = node->as_boolean()) return value->get();
  state_->fail(*node, quote(key) + " is " + type_name(node->type()) + "; write true or false");
  return fallback;
}

size_t Table::read_enum(std::string_view key, const std::vector<std::string_view>& names,
                        bool required, size_t fallback) const {
  const toml::node* const node = state_->find(table_, key, required);
  if (node == nullptr) return fallback;
  const auto* const value = node->as_string();
  const std::string_view text = value == nullptr ? std::string_view() : value->get();
  const auto found = std::find(names.begin(), names.end(), text);
  if (found != names.end()) return static_cast<size_t>(found - names.begin());
  const auto meant = suggest(text, names);
  state_->fail(*node, quote(key) + " is " +
                          (value == nullptr ? type_name(node->type()) : quote(text)) + "; write " +
                          (meant ? quote(*meant) : "one of: " + name_list(names)));
  return fallback;
}

std::vector<std::string> Table::required_strings(std::string_view key, size_t most) const {
  return read_strings(*state_, state_->find(table_, key, true), key, 1, most);
}

std::vector<std::string> Table::optional_strings(std::string_view key, size_t most) const {
  return read_strings(*state_, state_->find(table_, key, false), key, 0, most);
}

std::vector<int64_t> Table::required_integers(std::string_view key, int64_t minimum,
                                              int64_t maximum, size_t most) const {
  const Range range{minimum, maximum};
  return read_integers(*state_, state_->find(table_, key, true), key, range, 1, most);
}

std::vector<int64_t> Table::optional_integers(std::string_view key, int64_t minimum,
                                              int64_t maximum, size_t most) const {
  const Range range{minimum, maximum};
  return read_integers(*state_, state_->find(table_, key, false), key, range, 0, most);
}

Table Table::required_table(std::string_view key) const {
  state_->find(table_, key, true);
  return optional_table(key);
}

Table Table::optional_table(std::string_view key) const {
  const toml::node* const node = state_->find(table_, key, false);
  if (node != nullptr && node->is_table()) return state_->enter(*node, header(key, false));
  if (node != nullptr) {
    state_->fail(*node, quote(key) + " is " + type_name(node->type()) + "; write it as a table, " +
                            header(key, false));
  }
  return Table(state_, nullptr);
}

std::vector<Table> Table::required_tables(std::string_view key, size_t most) const {
  return read_tables(*state_, state_->find(table_, key, true), key, 1, most);
}

std::vector<Table> Table::optional_tables(std::string_view key, size_t most) const {
  return read_tables(*state_, state_->find(table_, key, false), key, 0, most);
}

void Table::ignore(std::initializer_list<std::string_view> keys) const {
  for (const std::string_view key : keys) state_->find(table_, key, false);
}

void Table::fail(std::string_view key, std::string message) const {
  if (table_ == nullptr) return;
  const toml::node* const node = as_table(table_).get(key);
  state_->fail(node == nullptr ? as_table(table_) : *node, std::move(message));
}

void Table::fail(std::string_view key, size_t index, std::string message) const {
  if (table_ == nullptr) return;
  const toml::node* const node = as_table(table_).get(key);
  const toml::array* const array = node == nullptr ? nullptr : node->as_array();
  const toml::node* const element = array == nullptr ? nullptr : array->get(index);
  if (element == nullptr) return fail(key, std::move(message));
  state_->fail(*element, std::move(message));
}

void Table::fail(std::string message) const {
  if (table_ != nullptr) state_->fail(as_table(table_), std::move(message));
}

}  // namespace sluice::abi::config
