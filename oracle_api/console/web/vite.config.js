import { defineConfig } from "vite";

// The output is committed: fixed names, nothing that depends on the machine.
export default defineConfig({
  base: "/console/assets/",
  build: {
    outDir: process.env.CONSOLE_OUT ?? "../static",
    emptyOutDir: true,
    assetsDir: "",
    target: "es2022",
    modulePreload: false,
    rollupOptions: {
      output: {
        entryFileNames: "console.js",
        chunkFileNames: "[name].js",
        assetFileNames: "console[extname]",
      },
    },
  },
});
