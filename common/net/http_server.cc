// HttpServer over Boost.Beast. The only file that includes Beast, which is slow to compile.
#include "common/net/http_server.h"

#include <glog/logging.h>
#include <pthread.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/host_name.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "common/base/strings.h"
#include "common/net/address.h"
#include "common/net/http_router.h"

namespace penstock {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

// What connections share; the HTTP thread's alone.
struct Shared {
  HttpOptions options;
  HttpRouter router;
  size_t connections = 0;
  MetricFamily<Counter>* requests = nullptr;
};

HttpRequest ToRequest(http::request<http::string_body>&& message, bool* well_formed) {
  HttpRequest request;
  request.method = std::string(message.method_string());
  const std::string_view target(message.target().data(), message.target().size());
  const size_t mark = target.find('?');
  *well_formed = target.starts_with('/') && PercentDecode(target.substr(0, mark), &request.path);
  if (mark != std::string_view::npos) request.query = target.substr(mark + 1);
  request.body = std::move(message.body());
  return request;
}

http::response<http::string_body> ToMessage(HttpResponse response, unsigned version, bool head) {
  http::response<http::string_body> message(static_cast<http::status>(response.status), version);
  message.set(http::field::server, "penstock");
  message.set(http::field::content_type, response.content_type);
  message.set("X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : response.headers) message.set(name, value);
  message.content_length(response.body.size());
  if (!head) message.body() = std::move(response.body);
  return message;
}

// One connection: read, answer, write, again. Owned by its pending operation; ends when that ends without
// starting another.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, Shared& shared) : shared_(shared), stream_(std::move(socket)) {
    ++shared_.connections;
  }
  ~Session() { --shared_.connections; }

  void Read() {
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(shared_.options.max_header_bytes));
    parser_->body_limit(shared_.options.max_body_bytes);
    SetDeadline();  // for the request as a whole: a client that drips bytes gains nothing
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](error_code error, size_t) { self->OnRead(error); });
  }

  // Answers without reading, then closes.
  void Refuse(HttpResponse response) {
    SetDeadline();
    Write(std::move(response), 11, /*keep_alive=*/false, /*head=*/false);
  }

 private:
  void SetDeadline() { stream_.expires_after(std::chrono::milliseconds(shared_.options.timeout_ms)); }

  void OnRead(error_code error) {
    if (error) {
      const int status = StatusOf(error);
      if (status == 0) return;  // closed, reset or too slow: nobody to tell
      return Refuse(HttpResponse::Error(status, error.message()));
    }
    auto message = parser_->release();
    const unsigned version = message.version();
    const bool keep_alive = message.keep_alive();
    const bool head = message.method() == http::verb::head;
    bool well_formed = false;
    const HttpRequest request = ToRequest(std::move(message), &well_formed);
    HttpResponse response = well_formed ? shared_.router.Handle(request)
                                        : HttpResponse::Error(400, "the path is not a well-formed one");
    SetDeadline();
    Write(std::move(response), version, keep_alive, head);
  }

  static int StatusOf(error_code error) {
    if (error == http::error::header_limit || error == http::error::buffer_overflow) return 431;
    if (error == http::error::body_limit) return 413;
    if (error == http::error::end_of_stream || error == http::error::partial_message) return 0;
    return error.category() == http::make_error_code(http::error::bad_method).category() ? 400 : 0;
  }

  void Write(HttpResponse response, unsigned version, bool keep_alive, bool head) {
    shared_.requests->With({std::to_string(response.status)}).Increment();
    response_ = ToMessage(std::move(response), version, head);
    response_.keep_alive(keep_alive);
    serializer_.emplace(response_);
    serializer_->split(head);  // a HEAD's length says what GET would send
    auto done = [self = shared_from_this()](error_code error, size_t) { self->OnWritten(error); };
    if (head) {
      http::async_write_header(stream_, *serializer_, std::move(done));
    } else {
      http::async_write(stream_, *serializer_, std::move(done));
    }
  }

  void OnWritten(error_code error) {
    if (error) return;
    if (response_.keep_alive()) return Read();
    stream_.socket().shutdown(tcp::socket::shutdown_send, error);
    Drain();
  }

  // Reads off what a refused client still sends: closing with bytes unread would reset the connection and
  // lose the answer.
  void Drain() {
    buffer_.clear();
    stream_.async_read_some(buffer_.prepare(4096), [self = shared_from_this()](error_code error, size_t) {
      if (!error) self->Drain();
    });
  }

  Shared& shared_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> response_;
  std::optional<http::response_serializer<http::string_body>> serializer_;
};

}  // namespace

class HttpServer::Impl {
 public:
  Impl(HttpOptions options, MetricsRegistry& metrics, Readiness readiness) : retry_(io_), acceptor_(io_) {
    shared_.options = std::move(options);
    shared_.requests = &metrics.AddCounters("penstock_http_requests_total",
                                            "HTTP requests answered, by status code.", {"code"});
    shared_.router.Add("GET", "/metrics", [&metrics](const HttpRequest&) {
      return HttpResponse{.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics.Text()};
    });
    shared_.router.Add("GET", "/healthz", [this](const HttpRequest&) { return Health(); });
    shared_.router.Add("GET", "/readyz", [readiness = std::move(readiness)](const HttpRequest&) {
      const Status status = readiness();
      if (status.ok()) return HttpResponse::Json({{"ready", true}});
      return HttpResponse::Json({{"ready", false}, {"reason", status.ToString()}}, 503);
    });
  }
  ~Impl() { Stop(); }

  HttpRouter& router() { return shared_.router; }
  uint16_t port() const { return port_; }
  std::string address() const {
    const HttpOptions& o = shared_.options;
    const std::string& host = o.advertise_host.empty() ? o.host : o.advertise_host;
    error_code failed;
    return JoinAddress(IsWildcard(host) ? asio::ip::host_name(failed) : host, port_);
  }

  Status Start() {
    PENSTOCK_RETURN_IF_ERROR(Listen());
    Accept();
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "http");
      io_.run();
    });
    return Status::Ok();
  }

  void Stop() {
    if (!thread_.joinable()) return;
    io_.stop();
    thread_.join();
    error_code ignored;
    acceptor_.close(ignored);  // connections close with io_, which holds their operations
  }

 private:
  Status Listen() {
    const std::string where = JoinAddress(shared_.options.host, shared_.options.port);
    error_code error;
    tcp::resolver resolver(io_);
    const auto found = resolver.resolve(BareHost(shared_.options.host), std::to_string(shared_.options.port),
                                        tcp::resolver::passive | tcp::resolver::numeric_service, error);
    if (error || found.empty()) {
      const std::string why = StrCat("HTTP address ", where, ": ", error.message());
      return error == asio::error::host_not_found_try_again ? Unavailable(why) : InvalidArgument(why);
    }
    const tcp::endpoint endpoint = found.begin()->endpoint();
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (!error) port_ = acceptor_.local_endpoint(error).port();
    if (!error) return Status::Ok();
    error_code ignored;
    acceptor_.close(ignored);
    return FailedPrecondition(StrCat("listen for HTTP on ", where, ": ", error.message()));
  }

  void Accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (error) return AcceptLater(error);
      Welcome(std::move(socket));
      Accept();
    });
  }

  void Welcome(tcp::socket socket) {
    if (shared_.connections >= 2 * shared_.options.max_connections)
      return;  // closes it: too many even to tell each of them
    const bool full = shared_.connections >= shared_.options.max_connections;
    const auto session = std::make_shared<Session>(std::move(socket), shared_);
    if (!full) return session->Read();
    session->Refuse(
        HttpResponse::Error(503, StrCat("more than ", shared_.options.max_connections, " connections")));
  }

  // Out of file descriptors, most likely: trying at once would spin.
  void AcceptLater(error_code error) {
    LOG_EVERY_N(WARNING, 100) << "accept on " << address() << ": " << error.message();
    retry_.expires_after(std::chrono::milliseconds(100));
    retry_.async_wait([this](error_code cancelled) {
      if (!cancelled) Accept();
    });
  }

  HttpResponse Health() const {
    const auto uptime = std::chrono::steady_clock::now() - started_;
    return HttpResponse::Json(
        {{"status", "alive"},
         {"name", shared_.options.name},
         {"pid", getpid()},
         {"uptime_seconds", std::chrono::duration_cast<std::chrono::seconds>(uptime).count()}});
  }

  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  Shared shared_;  // outlives io_: connections that io_ destroys still count themselves off
  asio::io_context io_{1};
  asio::steady_timer retry_;
  tcp::acceptor acceptor_;
  uint16_t port_ = 0;
  std::thread thread_;
};

HttpServer::HttpServer(HttpOptions options, MetricsRegistry& metrics, Readiness readiness)
    : impl_(std::make_unique<Impl>(std::move(options), metrics, std::move(readiness))) {}
HttpServer::~HttpServer() = default;

void HttpServer::Route(const std::string& method, const std::string& prefix, Handler handler) {
  impl_->router().Add(method, prefix, std::move(handler));
}
Status HttpServer::Start() { return impl_->Start(); }
void HttpServer::Stop() { impl_->Stop(); }
uint16_t HttpServer::port() const { return impl_->port(); }
std::string HttpServer::address() const { return impl_->address(); }

}  // namespace penstock
