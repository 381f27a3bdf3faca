// A file of its own, because the page's content security policy allows no inline scripts.
window.SwaggerUIBundle({
  url: '../v1/openapi.json',
  dom_id: '#reference',
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  // The validator badge would ask a server on the internet.
  validatorUrl: null,
});
