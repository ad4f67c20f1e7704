// A strict reader of TOML. A program asks for each key it knows; whatever nobody asked for is an
// unknown key, whatever has another type or range is refused. Errors are collected while reading:
// readers return a default then, so that reading code is a plain list of keys, and `check()` at its
// end returns the error that stands first in the file, if any.
//
//   auto document = Document::load(path);            // tl::expected<Document, Error>
//   Table tls = document->root().optional_table("tls");
//   const auto minimum = tls.optional_enum("minimum_version", kVersions, Version::Tls12);
//   if (auto ok = document->check(); !ok) return tl::unexpected(ok.error());
//
// Values may be used only after check() succeeded. Both programs read one file: the first reader
// names the tables that are not its own with `ignore`, and the next goes on with the same Document.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace sluice::abi::config {

// One line: "file:line:column: what is wrong; what to do". Line 0: the file as a whole.
struct Error {
  std::string file;
  uint32_t line = 0;
  uint32_t column = 0;
  std::string message;
  std::string to_string() const;
};

template <class E>
struct Choice {
  std::string_view name;
  E value;
};

struct DocumentState;

// A handle to a table of a Document: cheap to copy, valid as long as the Document lives. A handle
// to a table that is not there answers every reader with its default and reports nothing.
class Table {
 public:
  bool exists() const { return table_ != nullptr; }
  bool has(std::string_view key) const;
  // Every key of the table, in the order of the file: for tables whose keys are the user's own.
  std::vector<std::string> keys() const;

  // Strings are never empty and hold no control characters.
  std::string required_string(std::string_view key) const;
  std::string optional_string(std::string_view key, std::string_view fallback) const;
  // Within [minimum, maximum]; `fallback` is not checked.
  int64_t required_integer(std::string_view key, int64_t minimum, int64_t maximum) const;
  int64_t optional_integer(std::string_view key, int64_t fallback, int64_t minimum,
                           int64_t maximum) const;
  bool required_boolean(std::string_view key) const;
  bool optional_boolean(std::string_view key, bool fallback) const;
  // A string that is one of the names.
  template <class E, size_t N>
  E required_enum(std::string_view key, const Choice<E> (&choices)[N]) const {
    return choices[read_enum(key, names(choices), true, 0)].value;
  }
  template <class E, size_t N>
  E optional_enum(std::string_view key, const Choice<E> (&choices)[N], E fallback) const {
    const size_t chosen = read_enum(key, names(choices), false, N);
    return chosen < N ? choices[chosen].value : fallback;
  }
  // Arrays: at least one and at most `most` elements; an optional array may be absent or empty.
  std::vector<std::string> required_strings(std::string_view key, size_t most) const;
  std::vector<std::string> optional_strings(std::string_view key, size_t most) const;
  std::vector<int64_t> required_integers(std::string_view key, int64_t minimum, int64_t maximum,
                                         size_t most) const;
  std::vector<int64_t> optional_integers(std::string_view key, int64_t minimum, int64_t maximum,
                                         size_t most) const;
  // [key] or key = {...}
  Table required_table(std::string_view key) const;
  Table optional_table(std::string_view key) const;
  // [[key]] or key = [{...}, ...]
  std::vector<Table> required_tables(std::string_view key, size_t most) const;
  std::vector<Table> optional_tables(std::string_view key, size_t most) const;

  // These keys belong to another reader of the same file.
  void ignore(std::initializer_list<std::string_view> keys) const;

  // Reports an error of meaning, at the key's value (at its element `index`), or at the table
  // when the key is absent. `message` reads "what is wrong; what to do", in one line.
  void fail(std::string_view key, std::string message) const;
  void fail(std::string_view key, size_t index, std::string message) const;
  void fail(std::string message) const;

 private:
  friend class Document;
  friend struct DocumentState;
  Table(DocumentState* state, const void* table) : state_(state), table_(table) {}

  template <class E, size_t N>
  static std::vector<std::string_view> names(const Choice<E> (&choices)[N]) {
    std::vector<std::string_view> result;
    for (const Choice<E>& choice : choices) result.push_back(choice.name);
    return result;
  }
  size_t read_enum(std::string_view key, const std::vector<std::string_view>& names, bool required,
                   size_t fallback) const;

  DocumentState* state_ = nullptr;
  const void* table_ = nullptr;  // the library's table, named in the .cc only
};

class Document {
 public:
  static tl::expected<Document, Error> load(const std::string& path);
  // `file` is the name for errors and the base of relative paths.
  static tl::expected<Document, Error> parse(std::string_view text, const std::string& file);
  ~Document();
  Document(Document&&) noexcept;
  Document& operator=(Document&&) noexcept;

  Table root() const;
  // Whether a value was refused so far: work that combines values is better left out then.
  bool failed() const;
  // Looks for unknown and missing keys in all tables that were visited; returns the first error.
  tl::expected<void, Error> check() const;

  const std::string& file() const;
  // `path` itself when absolute, else below the directory of the file. The result is absolute.
  std::string resolve(const std::string& path) const;

 private:
  explicit Document(std::unique_ptr<DocumentState> state);
  std::unique_ptr<DocumentState> state_;
};

// Text from a file as it may stand in a message: quoted, without control characters, shortened.
std::string quote(std::string_view text);
// The candidate that `text` is a likely misspelling of, if any (edit distance with transpositions).
std::optional<std::string_view> suggest(std::string_view text,
                                        std::span<const std::string_view> candidates);

}  // namespace sluice::abi::config
