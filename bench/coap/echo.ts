/** The `coap` library's server as it is: gives back what it is sent. Tells its parent the port. */
import { createServer } from 'coap';

const server = createServer((request, response) => {
  response.code = '2.04';
  response.end(request.payload);
});
const port = Number(process.argv[2]);
server.listen(port, '127.0.0.1', () => process.send?.({ listening: port }));
process.on('disconnect', () => process.exit(0));
