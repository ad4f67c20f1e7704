// Reading [control], [tls] and [[host]]; policies are read in config_policy.cc. Every value is
// checked where it is read, so that an error points at its line; the certificates are loaded here
// for the same reason.
#include "control/config.h"

#include <sched.h>
#include <time.h>

#include <unordered_map>
#include <utility>

#include "control/config_policy.h"

namespace sluice::control {
namespace {

using abi::config::Choice;
using abi::config::Document;
using abi::config::Error;
using abi::config::quote;
using abi::config::Table;
using handshake::Certificate;

constexpr Choice<UnknownSni> kUnknownSni[] = {{"default", UnknownSni::Default},
                                              {"reject", UnknownSni::Reject}};
constexpr size_t kMaxSocketPath = 107;  // sun_path without its NUL

struct Reader {
  const Document& document;
  ControlConfig& config;
  PolicyReader policies{config.policies};
  std::unordered_map<std::string, uint32_t> backends{};
  handshake::HostTable names{};

  void read_control(const Table& table);
  void read_tls(const Table& table);
  void read_hosts(const Table& root);
  void read_host(const Table& table);
  void read_names(const Table& table, HostConfig& host);
  void read_certificates(const Table& table, HostConfig& host);
  void read_alpn(const Table& table, HostConfig& host);
  uint32_t read_backend(const Table& table, std::string_view key);
  void warn_about(const HostConfig& host, const Certificate& certificate);
};

void Reader::read_control(const Table& table) {
  config.admin_socket =
      document.resolve(table.optional_string("admin_socket", "/run/sluice/admin.sock"));
  if (config.admin_socket.size() > kMaxSocketPath) {
    table.fail("admin_socket", "the path " + quote(config.admin_socket) +
                                   " is too long for a socket; use at most 107 bytes");
  }
  config.handshake_threads = static_cast<uint32_t>(
      table.optional_integer("handshake_threads", 1, 1, abi::kMaxHandshakeThreads));
  for (const int64_t processor :
       table.optional_integers("processors", 0, CPU_SETSIZE - 1, CPU_SETSIZE)) {
    config.processors.push_back(static_cast<uint16_t>(processor));
  }
  config.user = table.optional_string("user", "");
  config.log_format =
      table.optional_enum("log_format", abi::config::kLogFormats, log::Format::Text);
  config.log_level = table.optional_enum("log_level", abi::config::kLogLevels, log::Level::Info);
}

void Reader::read_tls(const Table& table) {
  config.tls.policy = policies.choose(table, policies.index_of(handshake::kDefaultPolicy));
  config.tls.unknown_sni = table.optional_enum("unknown_sni", kUnknownSni, UnknownSni::Default);
}

void Reader::read_hosts(const Table& root) {
  for (const Table& table : root.required_tables("host", kMaxHosts)) read_host(table);
  if (document.failed()) return;
  uint32_t defaults = 0;
  for (const HostConfig& host : config.hosts) defaults += host.is_default ? 1 : 0;
  if (defaults == 0 && config.tls.unknown_sni == UnknownSni::Default) {
    root.fail("host",
              "no host is the default; add default = true to one [[host]], or set "
              "unknown_sni = \"reject\" in [tls]");
  }
}

void Reader::read_host(const Table& table) {
  HostConfig host;
  host.policy = policies.choose(table, config.tls.policy);
  host.is_default = table.optional_boolean("default", false);
  for (const HostConfig& other : config.hosts) {
    if (host.is_default && other.is_default) {
      table.fail("default", "another host is the default already; keep default = true in one");
      break;
    }
  }
  read_names(table, host);
  read_certificates(table, host);
  read_alpn(table, host);
  host.backend = read_backend(table, "backend");
  const Table by_alpn = table.optional_table("backend_by_alpn");
  if (by_alpn.exists()) {
    for (const std::string& alpn : by_alpn.keys()) {
      bool known = false;
      for (const std::string& offered : host.alpn) known = known || offered == alpn;
      if (!known) {
        by_alpn.fail(alpn, quote(alpn) + " is not in this host's alpn; add it there");
      }
      host.backend_by_alpn.push_back({alpn, read_backend(by_alpn, alpn)});
    }
  }
  config.hosts.push_back(std::move(host));
}

void Reader::read_names(const Table& table, HostConfig& host) {
  const auto written = table.required_strings("names", kMaxNamesPerHost);
  for (size_t i = 0; i < written.size(); ++i) {
    const std::string name = handshake::normalise_host_pattern(written[i]);
    if (name.empty()) {
      table.fail("names", i,
                 quote(written[i]) +
                     " is not a host name; use names like \"www.example.com\" or "
                     "\"*.example.com\"");
    } else if (!names.add(name, 0)) {
      table.fail("names", i, quote(name) + " is configured twice; keep it in one [[host]]");
    }
    host.names.push_back(name);
  }
}

void Reader::read_certificates(const Table& table, HostConfig& host) {
  for (const Table& entry : table.required_tables("certificates", kMaxCertificatesPerHost)) {
    const std::string chain = entry.required_string("chain");
    const std::string key = entry.required_string("key");
    if (chain.empty() || key.empty()) continue;  // reported already
    auto loaded = handshake::load_certificate(document.resolve(chain), document.resolve(key));
    if (!loaded) {
      const bool in_key = loaded.error().file == handshake::CertificateError::File::Key;
      entry.fail(in_key ? "key" : "chain", loaded.error().message);
      continue;
    }
    for (const auto& other : host.certificates) {
      if (other->type == (*loaded)->type) {
        entry.fail("chain", std::string("this host has an ") +
                                handshake::key_type_name(other->type) +
                                " certificate already; give at most one RSA and one ECDSA");
      }
    }
    if (std::string error = policies.refuses(host.policy, **loaded); !error.empty()) {
      entry.fail("chain", std::move(error));
    }
    warn_about(host, **loaded);
    host.certificates.push_back(std::move(*loaded));
  }
}

void Reader::warn_about(const HostConfig& host, const Certificate& certificate) {
  const int64_t now = time(nullptr);
  if (now > certificate.not_after) {
    config.warnings.push_back("the certificate " + certificate.chain_file + " has expired");
  }
  if (now < certificate.not_before) {
    config.warnings.push_back("the certificate " + certificate.chain_file + " is not valid yet");
  }
  if (certificate.key_file_is_open) {
    config.warnings.push_back("everybody can read or change the key " + certificate.key_file);
  }
  for (const std::string& name : host.names) {
    if (!certificate.covers(name)) {
      config.warnings.push_back("the certificate " + certificate.chain_file + " is not valid for " +
                                name);
    }
  }
}

void Reader::read_alpn(const Table& table, HostConfig& host) {
  host.alpn = table.optional_strings("alpn", kMaxAlpnPerHost);
  for (size_t i = 0; i < host.alpn.size(); ++i) {
    if (host.alpn[i].size() > kMaxAlpnBytes) {
      table.fail("alpn", i, quote(host.alpn[i]) + " is too long; use at most 32 bytes");
    }
    for (size_t j = 0; j < i; ++j) {
      if (host.alpn[i] == host.alpn[j]) {
        table.fail("alpn", i, quote(host.alpn[i]) + " stands twice; remove one");
      }
    }
  }
}

uint32_t Reader::read_backend(const Table& table, std::string_view key) {
  const std::string name = table.required_string(key);
  if (const auto found = backends.find(name); found != backends.end()) return found->second;
  if (name.empty()) return 0;  // reported already
  std::vector<std::string_view> candidates;
  for (const auto& backend : config.dataplane.backends) candidates.push_back(backend.name);
  const auto near = abi::config::suggest(name, candidates);
  table.fail(key, "no [[backend]] is named " + quote(name) + "; " +
                      (near ? "did you mean " + quote(*near) + "?" : "add one"));
  return 0;
}

}  // namespace

tl::expected<ControlConfig, Error> load_control_config(const std::string& path) {
  auto document = Document::load(path);
  if (!document) return tl::unexpected(document.error());
  auto dataplane = abi::config::read_dataplane_config(*document);
  if (!dataplane) return tl::unexpected(dataplane.error());
  ControlConfig config;
  config.dataplane = std::move(*dataplane);
  Reader reader{*document, config};
  for (uint32_t i = 0; i < config.dataplane.backends.size(); ++i) {
    reader.backends.emplace(config.dataplane.backends[i].name, i);
  }
  const Table root = document->root();
  reader.read_control(root.optional_table("control"));
  reader.policies.read(root);
  reader.read_tls(root.optional_table("tls"));
  reader.read_hosts(root);
  reader.policies.add_warnings(config.warnings);
  if (auto checked = document->check(); !checked) return tl::unexpected(checked.error());
  return config;
}

}  // namespace sluice::control
