// The narrow interface behind which handshakes are computed: records in, bytes and finally keys
// out. Nothing here knows OpenSSL, rings or sockets, so that another engine can fill it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "abi/messages.h"
#include "control/handshake/failure.h"
#include "crypto/secret.h"

namespace sluice::control::handshake {

// What a finished handshake leaves: InstallKeys without the flow. Wiped when it dies.
struct Session {
  uint16_t version = 0;
  uint16_t suite = 0;
  uint8_t encrypt_then_mac = 0;
  bool resumed = false;
  uint32_t host = 0;  // index of the configured host
  std::string alpn;   // empty: none was agreed
  abi::DirectionKeys open;
  abi::DirectionKeys seal;

  Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() {
    crypto::secure_zero(&open, sizeof open);
    crypto::secure_zero(&seal, sizeof seal);
  }
};

enum class Progress : uint8_t { NeedRecord, Done, Failed };

// One connection's handshake, in the server's role.
class Handshake {
 public:
  virtual ~Handshake() = default;
  // `record` is one whole TLS record, its header included. What the client shall get is appended to
  // `transmit`, on failure too (the alert). Not called again after Done or Failed.
  virtual Progress feed(std::span<const uint8_t> record, std::vector<uint8_t>& transmit) = 0;
  // After Done, once.
  virtual void take_session(Session& out) = 0;
  // After Failed; before, only `phase` has a meaning.
  [[nodiscard]] virtual const Failure& failure() const = 0;
  // What the client asked for, as a valid host name in lower case; empty when it asked for none or
  // for something that is no host name.
  [[nodiscard]] virtual const std::string& server_name() const = 0;
};

// Belongs to one thread and outlives its handshakes.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::unique_ptr<Handshake> begin() = 0;  // null when memory is short
};

}  // namespace sluice::control::handshake
