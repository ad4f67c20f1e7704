// Opening a configuration file, finding values in it, and the verdict at the end of reading.
//
// toml++ keeps the position of every key and value, which is what makes exact errors possible. It
// throws on a syntax error: that is caught in `parse`, at the library's edge, and nothing above
// sees an exception. The file is read here and not by the library, for the system's own error text
// and for a bound on its size.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "abi/config/document_state.h"

namespace sluice::abi::config {
namespace {

constexpr size_t kLargestFileBytes = 4U << 20;

bool stands_before(const Error& a, const Error& b) {
  return std::pair(a.line, a.column) < std::pair(b.line, b.column);
}

bool has_control_character(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char character) {
    const auto byte = static_cast<uint8_t>(character);
    return byte < 0x20 || byte == 0x7f;
  });
}

std::string one_line(std::string text) {
  for (char& character : text) {
    if (has_control_character(std::string_view(&character, 1))) character = ' ';
  }
  return text;
}

tl::expected<std::string, Error> read_file(const std::string& path) {
  const auto failure = [&path](int code) {
    return tl::unexpected(Error{path, 0, 0,
                                std::string("cannot be read: ") + std::strerror(code) +
                                    "; name a file that exists and that this user may read"});
  };
  std::FILE* const file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return failure(errno);
  std::string text;
  char block[4096];
  size_t got = 0;
  while (text.size() <= kLargestFileBytes && (got = std::fread(block, 1, sizeof block, file)) > 0) {
    text.append(block, got);
  }
  const int code = std::ferror(file) != 0 ? errno : 0;
  std::fclose(file);
  if (code != 0) return failure(code);
  if (text.size() > kLargestFileBytes) return failure(EFBIG);
  return text;
}

}  // namespace

std::string Error::to_string() const {
  if (line == 0) return file + ": " + message;
  return file + ":" + std::to_string(line) + ":" + std::to_string(column) + ": " + message;
}

const char* type_name(toml::node_type type) {
  switch (type) {
    case toml::node_type::none:
      return "nothing";
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a floating-point number";
    case toml::node_type::boolean:
      return "a boolean";
    case toml::node_type::date:
      return "a date";
    case toml::node_type::time:
      return "a time";
    case toml::node_type::date_time:
      return "a date and time";
  }
  return "unknown";
}

std::string name_list(const std::vector<std::string_view>& names) {
  std::string list;
  for (const std::string_view name : names) {
    if (!list.empty()) list += ", ";
    list += name;
  }
  return list;
}

// ---- Values

Error DocumentState::error_at(const toml::source_position& where, std::string message) const {
  // The top level of an empty document has no position of its own.
  return Error{file, std::max<uint32_t>(where.line, 1), std::max<uint32_t>(where.column, 1),
               one_line(std::move(message))};
}

void DocumentState::fail(const toml::node& node, std::string message) {
  errors.push_back(error_at(node.source().begin, std::move(message)));
}

const toml::node* DocumentState::find(const void* table, std::string_view key, bool required) {
  if (table == nullptr) return nullptr;
  TableVisit& visit = visits[table];
  visit.known.emplace(key);
  const toml::node* const node = as_table(table).get(key);
  if (node == nullptr && required) visit.missing.emplace_back(key);
  return node;
}

Table DocumentState::enter(const toml::node& table, std::string label) {
  visits[table.as_table()].label = std::move(label);
  return Table(this, table.as_table());
}

std::optional<std::string> DocumentState::string_of(const toml::node& node, std::string_view key) {
  const auto* const value = node.as_string();
  if (value == nullptr) {
    fail(node, quote(key) + " is " + type_name(node.type()) + "; write a string in quotes");
  } else if (value->get().empty()) {
    fail(node, quote(key) + " is empty; give it a value or remove it");
  } else if (has_control_character(value->get())) {
    fail(node, quote(key) + " holds a control character; remove that");
  } else {
    return value->get();
  }
  return std::nullopt;
}

std::optional<int64_t> DocumentState::integer_of(const toml::node& node, std::string_view key,
                                                 int64_t minimum, int64_t maximum) {
  const auto* const value = node.as_integer();
  if (value != nullptr && value->get() >= minimum && value->get() <= maximum) return value->get();
  const std::string what = value == nullptr ? type_name(node.type()) : std::to_string(value->get());
  fail(node, quote(key) + " is " + what + "; write an integer from " + std::to_string(minimum) +
                 " to " + std::to_string(maximum));
  return std::nullopt;
}

std::vector<const toml::node*> DocumentState::elements_of(const toml::node& node,
                                                          std::string_view key, size_t least,
                                                          size_t most, const std::string& wanted) {
  std::vector<const toml::node*> elements;
  const toml::array* const array = node.as_array();
  if (array == nullptr) {
    fail(node, quote(key) + " is " + type_name(node.type()) + "; write " + wanted);
  } else if (array->size() < least || array->size() > most) {
    fail(node, quote(key) + " has " + std::to_string(array->size()) + " elements; write " +
                   std::to_string(least) + " to " + std::to_string(most));
  } else {
    for (const toml::node& element : *array) elements.push_back(&element);
  }
  return elements;
}

// ---- The verdict

std::optional<Error> DocumentState::first_unknown(const void* table,
                                                  const TableVisit& visit) const {
  std::optional<Error> first;
  for (const auto& [key, value] : as_table(table)) {
    if (visit.known.contains(key.str())) continue;
    const std::vector<std::string_view> names(visit.known.begin(), visit.known.end());
    const auto meant = suggest(key.str(), names);
    const std::string help =
        meant ? ", did you mean " + quote(*meant) + "?"
              : " in " + visit.label + "; remove it, known keys are: " + name_list(names);
    Error error = error_at(key.source().begin, "unknown key " + quote(key.str()) + help);
    if (!first || stands_before(error, *first)) first = std::move(error);
  }
  return first;
}

std::optional<Error> DocumentState::first_missing(const void* table,
                                                  const TableVisit& visit) const {
  if (visit.missing.empty()) return std::nullopt;
  return error_at(as_table(table).source().begin,
                  quote(visit.missing.front()) + " is missing in " + visit.label + "; add it");
}

tl::expected<void, Error> Document::check() const {
  std::vector<Error> errors = state_->errors;
  for (const auto& [table, visit] : state_->visits) {
    auto error = state_->first_unknown(table, visit);
    if (!error) error = state_->first_missing(table, visit);
    if (error) errors.push_back(std::move(*error));
  }
  const auto first = std::min_element(errors.begin(), errors.end(), stands_before);
  if (first == errors.end()) return {};
  return tl::unexpected(*first);
}

// ---- Opening

Document::Document(std::unique_ptr<DocumentState> state) : state_(std::move(state)) {}
Document::~Document() = default;
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;

tl::expected<Document, Error> Document::load(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return tl::unexpected(text.error());
  return parse(*text, path);
}

tl::expected<Document, Error> Document::parse(std::string_view text, const std::string& file) {
  auto state = std::make_unique<DocumentState>();
  state->file = file;
  std::error_code failed;
  state->directory = std::filesystem::absolute(file, failed).parent_path();
  if (failed) {
    return tl::unexpected(Error{
        file, 0, 0,
        "the working directory is not known (" + failed.message() + "); give an absolute path"});
  }
  try {
    state->root = toml::parse(text);
  } catch (const toml::parse_error& error) {
    const std::string message = std::string(error.description()) + "; correct the TOML syntax";
    return tl::unexpected(state->error_at(error.source().begin, message));
  }
  state->enter(state->root, "the top level");
  return Document(std::move(state));
}

Table Document::root() const { return Table(state_.get(), &state_->root); }

bool Document::failed() const { return !state_->errors.empty(); }

const std::string& Document::file() const { return state_->file; }

std::string Document::resolve(const std::string& path) const {
  return (state_->directory / path).lexically_normal().string();
}

}  // namespace sluice::abi::config
