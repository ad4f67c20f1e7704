// The parser of a link's text.
//
// Job: "key=value,key=value" -> LinkSettings for each direction. Keys are rows of a table: a name
// and the function that reads its value; a value is a number with one of the units of its kind.
// Everything has a bound, so that no arithmetic of the link can overflow. Common keys are read
// first and those of one direction afterwards, so that their order in the text does not matter.
#include "spec.h"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

namespace sluice::impair {
namespace {

using Error = std::string;  // empty: all is well

struct Unit {
  std::string_view name;
  double factor;
};

constexpr Unit kTimes[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
constexpr Unit kRates[] = {{"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}};
constexpr Unit kSizes[] = {{"", 1}, {"k", 1024}, {"m", 1024.0 * 1024}};
constexpr Unit kShares[] = {{"%", 0.01}};
constexpr Unit kPlain[] = {{"", 1}};

std::string quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

// A number, then one of the units; the value is at most `most`.
template <size_t N>
Error read_number(std::string_view text, const Unit (&units)[N], double most, double& out) {
  double value = 0;
  const auto [end, code] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  const std::string_view name(end, static_cast<size_t>(text.data() + text.size() - end));
  std::string known;
  for (const Unit& unit : units) {
    known += (known.empty() ? "" : ", ") + (unit.name.empty() ? "no unit" : std::string(unit.name));
    if (code != std::errc() || unit.name != name) continue;
    if (!std::isfinite(value) || std::signbit(value) || value * unit.factor > most) {
      return quoted(text) + " is out of range";
    }
    out = value * unit.factor;
    return {};
  }
  return quoted(text) + " is not a number with a unit (" + known + ")";
}

Error read_time(std::string_view text, Nanos& out) {
  double value = 0;
  const Error error = read_number(text, kTimes, static_cast<double>(kMaxDelay), value);
  if (error.empty()) out = static_cast<Nanos>(std::llround(value));
  return error.empty() ? error : error + "; at most 10s";
}

Error read_share(std::string_view text, double& out) {
  const Error error = read_number(text, kShares, 1.0, out);
  return error.empty() ? error : error + "; 0% to 100%";
}

Error read_size(std::string_view text, uint64_t& out) {
  double value = 0;
  const Error error = read_number(text, kSizes, static_cast<double>(kMaxQueueBytes), value);
  if (error.empty()) out = static_cast<uint64_t>(value);
  return error.empty() ? error : error + "; at most 64m";
}

// The part up to the next slash; `text` keeps what is behind it.
std::string_view take_part(std::string_view& text) {
  const size_t slash = text.find('/');
  const std::string_view part = text.substr(0, slash);
  text = slash == std::string_view::npos ? std::string_view() : text.substr(slash + 1);
  return part;
}

Error read_delay(std::string_view text, LinkSettings& out) { return read_time(text, out.delay); }
Error read_jitter(std::string_view text, LinkSettings& out) { return read_time(text, out.jitter); }
Error read_loss(std::string_view text, LinkSettings& out) { return read_share(text, out.loss); }

Error read_burst(std::string_view text, LinkSettings& out) {
  Error error = read_share(take_part(text), out.burst_begin);
  if (error.empty() && text.empty()) error = "two shares are needed: BEGIN/END or BEGIN/END/LOSS";
  if (error.empty()) error = read_share(take_part(text), out.burst_end);
  if (error.empty() && !text.empty()) error = read_share(text, out.burst_loss);
  if (error.empty() && out.burst_end == 0) error = "a burst has to end: END above 0%";
  return error;
}

Error read_reorder(std::string_view text, LinkSettings& out) {
  const Error error = read_share(take_part(text), out.reorder);
  if (!error.empty()) return error;
  if (text.empty()) return "share and extra delay are needed: 2%/5ms";
  return read_time(text, out.reorder_extra);
}

Error read_duplicate(std::string_view text, LinkSettings& out) {
  return read_share(text, out.duplicate);
}

Error read_corrupt(std::string_view text, LinkSettings& out) {
  return read_share(text, out.corrupt);
}

Error read_rate(std::string_view text, LinkSettings& out) {
  double value = 0;
  const Error error = read_number(text, kRates, static_cast<double>(kMaxRateBits), value);
  if (!error.empty()) return error + "; at most 100gbit";
  out.rate_bits = static_cast<uint64_t>(value);
  return out.rate_bits == 0 ? "a rate is at least 1bit; leave it out for no limit" : Error();
}

Error read_queue(std::string_view text, LinkSettings& out) {
  return read_size(text, out.queue_bytes);
}

Error read_mark(std::string_view text, LinkSettings& out) {
  return read_size(text, out.mark_bytes);
}

Error read_vlan(std::string_view text, LinkSettings& out) {
  double value = 0;
  const Error error = read_number(text, kPlain, kMaxVlan, value);
  if (error.empty()) out.vlan = static_cast<uint16_t>(value);
  return error.empty() ? error : error + "; at most 4094";
}

Error read_seed(std::string_view text, LinkSettings& out) {
  double value = 0;
  const Error error = read_number(text, kPlain, 0x1p53, value);
  if (error.empty()) out.seed = static_cast<uint64_t>(value);
  return error;
}

struct Key {
  std::string_view name;
  Error (*read)(std::string_view text, LinkSettings& out);
};

constexpr std::array<Key, 12> kKeys = {{{"delay", read_delay},
                                        {"jitter", read_jitter},
                                        {"loss", read_loss},
                                        {"burst", read_burst},
                                        {"reorder", read_reorder},
                                        {"duplicate", read_duplicate},
                                        {"corrupt", read_corrupt},
                                        {"rate", read_rate},
                                        {"queue", read_queue},
                                        {"mark", read_mark},
                                        {"vlan", read_vlan},
                                        {"seed", read_seed}}};

enum class Scope : uint8_t { Both, Up, Down };

struct Entry {
  Scope scope;
  const Key* key;
  std::string_view value;
};

std::string known_keys() {
  std::string names;
  for (const Key& key : kKeys) names += (names.empty() ? "" : ", ") + std::string(key.name);
  return names;
}

Error split_entry(std::string_view item, std::vector<Entry>& entries) {
  const size_t equals = item.find('=');
  if (equals == std::string_view::npos) return quoted(item) + " is not key=value";
  std::string_view name = item.substr(0, equals);
  Entry entry = {Scope::Both, nullptr, item.substr(equals + 1)};
  if (name.substr(0, 3) == "up.") {
    entry.scope = Scope::Up;
    name.remove_prefix(3);
  } else if (name.substr(0, 5) == "down.") {
    entry.scope = Scope::Down;
    name.remove_prefix(5);
  }
  for (const Key& key : kKeys) {
    if (key.name == name) entry.key = &key;
  }
  if (entry.key == nullptr) return "unknown key " + quoted(name) + "; there are " + known_keys();
  for (const Entry& before : entries) {
    if (before.key == entry.key && before.scope == entry.scope) {
      return quoted(item.substr(0, equals)) + " is given twice";
    }
  }
  entries.push_back(entry);
  return {};
}

Error split(std::string_view text, std::vector<Entry>& entries) {
  while (true) {
    const size_t comma = text.find(',');
    Error error = split_entry(text.substr(0, comma), entries);
    if (!error.empty() || comma == std::string_view::npos) return error;
    text.remove_prefix(comma + 1);
  }
}

Error apply(const std::vector<Entry>& entries, bool common, Spec& spec) {
  for (const Entry& entry : entries) {
    if ((entry.scope == Scope::Both) != common) continue;
    for (LinkSettings* link : {&spec.up, &spec.down}) {
      if (entry.scope == (link == &spec.up ? Scope::Down : Scope::Up)) continue;
      const Error error = entry.key->read(entry.value, *link);
      if (!error.empty()) return std::string(entry.key->name) + ": " + error;
    }
  }
  return {};
}

// Keys that mean nothing without a rate are an oversight.
Error check_rate(const std::vector<Entry>& entries, const Spec& spec) {
  for (const Entry& entry : entries) {
    if (entry.key->name != "queue" && entry.key->name != "mark") continue;
    if ((entry.scope != Scope::Down && spec.up.rate_bits == 0) ||
        (entry.scope != Scope::Up && spec.down.rate_bits == 0)) {
      return std::string(entry.key->name) + ": there is no queue without a rate; add rate=";
    }
  }
  return {};
}

}  // namespace

tl::expected<Spec, std::string> parse_spec(std::string_view text) {
  Spec spec;
  if (text == "none") return spec;
  if (text.empty()) return tl::unexpected<std::string>("empty; 'none' is a wire that does nothing");
  std::vector<Entry> entries;
  Error error = split(text, entries);
  if (error.empty()) error = apply(entries, true, spec);
  if (error.empty()) error = apply(entries, false, spec);
  if (error.empty()) error = check_rate(entries, spec);
  if (!error.empty()) return tl::unexpected(error);
  return spec;
}

}  // namespace sluice::impair
