module hawser.test/drivers/amqp

go 1.23.0

require github.com/rabbitmq/amqp091-go v1.10.0
