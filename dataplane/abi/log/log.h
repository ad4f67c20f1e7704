// What an operator reads: one line per event on stderr, as text or as one JSON object a line.
//
// Fields are key=value pairs behind the message. Values that came from the network are escaped, so
// that nobody can forge a line. Under systemd (JOURNAL_STREAM or INVOCATION_ID is set) lines
// begin with sd-daemon's <priority>, and text leaves the time to the journal. Any thread may log.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

namespace sluice::log {

enum class Format : uint8_t { Text, Json };
enum class Level : uint8_t { Debug, Info, Warning, Error };

struct Field {
  std::string_view name;
  std::variant<std::string, int64_t> value;
  Field(std::string_view n, std::string_view v) : name(n), value(std::string(v)) {}
  Field(std::string_view n, const char* v) : name(n), value(std::string(v)) {}
  Field(std::string_view n, const std::string& v) : name(n), value(v) {}
  template <class T>
    requires std::is_integral_v<T>
  Field(std::string_view n, T v) : name(n), value(static_cast<int64_t>(v)) {}
};
using Fields = std::vector<Field>;

// Before this is called, lines go out as text at level info.
void configure(Format format, Level level);
[[nodiscard]] bool enabled(Level level);

void write(Level level, std::string_view message, const Fields& fields = {});
inline void debug(std::string_view message, const Fields& fields = {}) {
  if (enabled(Level::Debug)) write(Level::Debug, message, fields);
}
inline void info(std::string_view message, const Fields& fields = {}) {
  write(Level::Info, message, fields);
}
inline void warning(std::string_view message, const Fields& fields = {}) {
  write(Level::Warning, message, fields);
}
inline void error(std::string_view message, const Fields& fields = {}) {
  write(Level::Error, message, fields);
}

// The line without time and priority; what the tests look at.
[[nodiscard]] std::string render(Format format, Level level, std::string_view message,
                                 const Fields& fields);

}  // namespace sluice::log
