import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/**
 * Does Kafka's own code read what ours wrote, and write the same again?
 *
 *     build/src/kafka_dump | java -cp kafka-clients-4.4.0.jar:slf4j-api.jar tests/schema/KafkaPeer.java
 */
class KafkaPeer {
	static byte[] again(String name, short version, byte[] in) throws Exception {
		Message m = (Message) Class.forName("org.apache.kafka.common.message." + name + suffix(name))
				.getConstructor().newInstance();
		ByteBuffer from = ByteBuffer.wrap(in);
		m.read(new ByteBufferAccessor(from), version);
		if (from.hasRemaining())
			throw new IllegalStateException(from.remaining() + " bytes are left");
		ObjectSerializationCache cache = new ObjectSerializationCache();
		ByteBuffer to = ByteBuffer.allocate(m.size(cache, version));
		m.write(new ByteBufferAccessor(to), cache, version);
		return to.array();
	}

	static String suffix(String name) {
		return name.startsWith("ConsumerProtocol") ? "" : "Data";
	}

	public static void main(String[] args) throws Exception {
		var lines = new BufferedReader(new InputStreamReader(System.in));
		int read = 0, wrong = 0;
		for (String line; (line = lines.readLine()) != null; read++) {
			String[] part = line.split(" ", -1);
			String problem = null;
			try {
				byte[] out = again(part[0], Short.parseShort(part[1]), HexFormat.of().parseHex(part[2]));
				if (!HexFormat.of().formatHex(out).equals(part[2]))
					problem = "writes " + HexFormat.of().formatHex(out);
			} catch (Exception e) {
				problem = e.toString();
			}
			if (problem != null && wrong++ < 20)
				System.out.println(line + ": Kafka " + problem);
		}
		System.out.println(read + " messages, " + wrong + " differences");
		System.exit(wrong == 0 && read > 0 ? 0 : 1);
	}
}
