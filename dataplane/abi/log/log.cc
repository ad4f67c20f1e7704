// Theory of operation. spdlog serialises the threads and writes the time; the payload of a line is
// built here, because both forms need the fields apart from the message. Everything that is not
// printable ASCII is escaped in text; JSON escapes by the library, with broken UTF-8 replaced.
#include "abi/log/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>

namespace sluice::log {
namespace {

Format current_format = Format::Text;

std::string_view level_name(Level level) {
  switch (level) {
    case Level::Debug:
      return "debug";
    case Level::Info:
      return "info";
    case Level::Warning:
      return "warning";
    case Level::Error:
      return "error";
  }
  return "error";
}

spdlog::level::level_enum spdlog_level(Level level) {
  switch (level) {
    case Level::Debug:
      return spdlog::level::debug;
    case Level::Info:
      return spdlog::level::info;
    case Level::Warning:
      return spdlog::level::warn;
    case Level::Error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// syslog(3)'s numbers as sd-daemon(3) writes them.
class PriorityFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const char priority = message.level >= spdlog::level::err    ? '3'
                          : message.level >= spdlog::level::warn ? '4'
                          : message.level >= spdlog::level::info ? '6'
                                                                 : '7';
    out.push_back('<');
    out.push_back(priority);
    out.push_back('>');
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<PriorityFlag>();
  }
};

bool under_journal() {
  return std::getenv("JOURNAL_STREAM") != nullptr || std::getenv("INVOCATION_ID") != nullptr;
}

std::shared_ptr<spdlog::logger> make_logger() {
  auto logger = std::make_shared<spdlog::logger>("sluice",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  const char* pattern = "%Y-%m-%dT%H:%M:%S.%eZ %-7l %v";
  if (current_format == Format::Json) pattern = "%v";
  if (under_journal()) pattern = "%*%v";
  formatter->add_flag<PriorityFlag>('*').set_pattern(pattern);
  logger->set_formatter(std::move(formatter));
  logger->set_level(spdlog::level::info);
  return logger;
}

std::shared_ptr<spdlog::logger>& logger() {
  static std::shared_ptr<spdlog::logger> instance = make_logger();
  return instance;
}

std::string escaped(const std::string& value) {
  static constexpr char kHex[] = "0123456789abcdef";
  bool quote = value.empty();
  std::string out;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
      quote = true;
    } else if (c == '"' || c == '\\') {
      out += {'\\', c};
      quote = true;
    } else {
      out += c;
      quote = quote || c == ' ' || c == '=';
    }
  }
  return quote ? '"' + out + '"' : out;
}

std::string render_json(Level level, std::string_view message, const Fields& fields) {
  nlohmann::ordered_json line;
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  std::tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  char text[32];
  const size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  const std::string fraction = std::to_string(1000 + now.tv_nsec / 1'000'000).substr(1);
  line["time"] = std::string(text, length) + '.' + fraction + 'Z';
  line["level"] = level_name(level);
  line["message"] = message;
  for (const Field& field : fields) {
    std::visit([&](const auto& value) { line[std::string(field.name)] = value; }, field.value);
  }
  return line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

std::string render_text(std::string_view message, const Fields& fields) {
  std::string line(message);
  for (const Field& field : fields) {
    line += ' ';
    line += field.name;
    line += '=';
    if (const auto* text = std::get_if<std::string>(&field.value)) {
      line += escaped(*text);
    } else {
      line += std::to_string(std::get<int64_t>(field.value));
    }
  }
  return line;
}

}  // namespace

void configure(Format format, Level level) {
  current_format = format;
  logger() = make_logger();
  logger()->set_level(spdlog_level(level));
}

bool enabled(Level level) { return logger()->should_log(spdlog_level(level)); }

std::string render(Format format, Level level, std::string_view message, const Fields& fields) {
  switch (format) {
    case Format::Text:
      return render_text(message, fields);
    case Format::Json:
      return render_json(level, message, fields);
  }
  return {};
}

void write(Level level, std::string_view message, const Fields& fields) {
  if (!enabled(level)) return;
  const std::string line = render(current_format, level, message, fields);
  logger()->log(spdlog_level(level), spdlog::string_view_t(line));
}

}  // namespace sluice::log
