#define ASIO 1
