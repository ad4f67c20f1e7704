// One conversation with control's admin socket.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <tl/expected.hpp>

#include "abi/attach.h"

namespace sluice::control::ctl {

enum class ExitCode : int { Ok = 0, Refused = 1, Usage = 2, Unreachable = 3 };

struct ClientError {
  ExitCode code = ExitCode::Unreachable;
  std::string message;
};

class Client {
 public:
  [[nodiscard]] static tl::expected<Client, ClientError> connect(const std::string& path);
  // The "result" of the answer.
  [[nodiscard]] tl::expected<nlohmann::ordered_json, ClientError> ask(
      const nlohmann::ordered_json& request);

 private:
  explicit Client(abi::Descriptor socket) : socket_(std::move(socket)) {}
  abi::Descriptor socket_;
  std::string input_;
};

}  // namespace sluice::control::ctl
